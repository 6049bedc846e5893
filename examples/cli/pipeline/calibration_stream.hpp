#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/model.hpp"
#include "pare/core/error.hpp"

namespace cli {

using pare::Index;

/// Calibration text as whole windows of `length` tokens (one shorter window when there is less).
struct CalibrationWindows {
  std::vector<std::int32_t> ids;
  Index length = 0;

  /// At most `limit` windows; 0 means all. Throws ArgumentError when there is no token.
  CalibrationWindows(std::span<const std::int32_t> tokens, Index window, Index limit) {
    if (tokens.empty()) throw pare::ArgumentError("the calibration text is empty");
    length = std::min(window, static_cast<Index>(tokens.size()));
    Index windows = static_cast<Index>(tokens.size()) / length;
    if (limit > 0) windows = std::min(windows, limit);
    ids.assign(tokens.begin(), tokens.begin() + windows * length);
  }

  [[nodiscard]] Index count() const { return static_cast<Index>(ids.size()) / length; }
};

/// The activations between two blocks, for all calibration windows.
class CalibrationStream {
 public:
  CalibrationStream(const engine::Embedding& embedding, const CalibrationWindows& windows)
      : hidden_(embedding.rows(windows.ids, 0, windows.length)), length_(windows.length) {}

  /// Shows the linear layers' inputs to `capture`, some windows at a time, in order.
  void observe(const engine::BlockRunner& runner, const engine::Block& block,
               engine::Capture capture) const {
    for (Index first = 0; first < hidden_.rows(); first += chunk_rows()) {
      pare::Matrix<float> x(hidden_.view().slice(0, first, rows_at(first)));
      runner.prefill(block, x, length_, capture);
    }
  }

  /// Passes all windows through a block.
  void advance(const engine::BlockRunner& runner, const engine::Block& block,
               std::optional<engine::Capture> capture = {}) {
    for (Index first = 0; first < hidden_.rows(); first += chunk_rows())
      runner.prefill(block, hidden_.view().slice(0, first, rows_at(first)), length_, capture);
  }

  [[nodiscard]] Index length() const noexcept { return length_; }

 private:
  /// Whole windows of about 2048 tokens: bounds the memory of a pass.
  [[nodiscard]] Index chunk_rows() const { return std::max<Index>(1, 2048 / length_) * length_; }
  [[nodiscard]] Index rows_at(Index first) const {
    return std::min(chunk_rows(), hidden_.rows() - first);
  }

  pare::Matrix<float> hidden_;
  Index length_;
};

}  // namespace cli
