#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/model.hpp"
#include "pare/core/error.hpp"

namespace cli {

using pare::Index;

/// What a model is shown for calibration, in sequences ("windows") of one length.
struct CalibrationWindows {
  engine::ModelInputs inputs;

  /// Text as whole windows of `window` tokens (one shorter window when there is less), every
  /// `stride`-th from the first, at most `limit` of them; 0 means all. Throws ArgumentError when
  /// there is no token.
  CalibrationWindows(std::span<const std::int32_t> tokens, Index window, Index limit,
                     Index stride = 1) {
    if (tokens.empty()) throw pare::ArgumentError("the calibration text is empty");
    inputs.length = std::min(window, std::ssize(tokens));
    Index left = limit > 0 ? limit : std::ssize(tokens);
    const Index step = std::min(stride, std::ssize(tokens)) * inputs.length;  // beyond is no window
    for (Index first = 0; first + inputs.length <= std::ssize(tokens) && left-- > 0;
         first += step) {
      const auto begin = tokens.begin() + first;
      inputs.ids.insert(inputs.ids.end(), begin, begin + inputs.length);
    }
  }
  /// Inputs as they are, at most `limit` of them; 0 means all.
  CalibrationWindows(engine::ModelInputs all, Index limit)
      : inputs(limit > 0 ? all.slice(0, std::min(limit, all.count())) : std::move(all)) {}

  [[nodiscard]] Index length() const { return inputs.length; }
  [[nodiscard]] Index count() const { return inputs.count(); }
};

/// The rows of x that other tokens see, all where `visible` is empty: padding is no data.
[[nodiscard]] inline pare::Matrix<float> visible_rows(pare::MatrixView<const float> x,
                                                      std::span<const std::uint8_t> visible) {
  if (visible.empty()) return pare::Matrix<float>(x);
  const auto hidden = std::count(visible.begin(), visible.end(), 0);
  pare::Matrix<float> rows({x.rows() - static_cast<Index>(hidden), x.cols()});
  Index next = 0;
  for (Index t = 0; t < x.rows(); ++t)
    if (visible[static_cast<std::size_t>(t)]) pare::copy(x.row(t), rows.row(next++));
  return rows;
}

/// x_c /= scales_c in every row.
inline void divide_columns(pare::Matrix<float>& x, const pare::Vector<float>& scales) {
  for (Index t = 0; t < x.rows(); ++t)
    for (Index c = 0; c < x.cols(); ++c) x(t, c) /= scales[c];
}

/// The activations between two blocks, for all calibration windows.
class CalibrationStream {
 public:
  /// Like Capture, with which of the rows other tokens see; none said means all.
  using MaskedCapture = pare::FunctionRef<void(engine::Site, pare::MatrixView<const float>,
                                               std::span<const std::uint8_t> visible)>;

  CalibrationStream(const engine::Embedding& embedding, const CalibrationWindows& windows,
                    const pare::Execution& execution)
      : hidden_(embedding.rows(windows.inputs, execution)),
        visible_(windows.inputs.visible),
        length_(windows.inputs.length) {}

  /// Shows the linear layers' inputs to `capture`, some windows at a time, in order.
  void observe(const engine::BlockRunner& runner, const engine::Block& block,
               engine::Capture capture) const {
    for (Index first = 0; first < hidden_.rows(); first += chunk_rows(block)) {
      pare::Matrix<float> x(hidden_.view().slice(0, first, rows_at(first, block)));
      const auto visible = visible_at(first, block);
      if (visible.empty()) {
        runner.show(block, x, length_, capture);
        continue;
      }
      const auto filtered = [&](engine::Site site, pare::MatrixView<const float> rows) {
        capture(site, visible_rows(rows, visible));
      };
      runner.show(block, x, length_, filtered, visible);
    }
  }

  /// Passes all windows through a block.
  void advance(const engine::BlockRunner& runner, const engine::Block& block,
               std::optional<MaskedCapture> capture = {}) {
    for (Index first = 0; first < hidden_.rows(); first += chunk_rows(block)) {
      const auto visible = visible_at(first, block);
      const auto masked = [&](engine::Site site, pare::MatrixView<const float> rows) {
        (*capture)(site, rows, visible);
      };
      const auto x = hidden_.view().slice(0, first, rows_at(first, block));
      if (capture)
        runner.prefill(block, x, length_, masked, visible);
      else
        runner.prefill(block, x, length_, {}, visible);
    }
  }

  /// What is between the blocks now, without padding.
  [[nodiscard]] pare::Matrix<float> visible() const { return visible_rows(hidden_, visible_); }
  [[nodiscard]] Index length() const noexcept { return length_; }
  /// Of all windows, stacked.
  [[nodiscard]] pare::MatrixView<const float> hidden() const noexcept { return hidden_; }

 private:
  /// Whole windows of about 2048 tokens: bounds the memory of a pass. Of 16384 where experts are
  /// read for each, so that there is more to do with an expert than to read it.
  [[nodiscard]] Index chunk_rows(const engine::Block& block) const {
    const Index tokens = block.read_expert ? 16384 : 2048;
    return std::max<Index>(1, tokens / length_) * length_;
  }
  [[nodiscard]] Index rows_at(Index first, const engine::Block& block) const {
    return std::min(chunk_rows(block), hidden_.rows() - first);
  }
  [[nodiscard]] std::span<const std::uint8_t> visible_at(Index first,
                                                         const engine::Block& block) const {
    if (visible_.empty()) return {};
    return std::span(visible_).subspan(static_cast<std::size_t>(first),
                                       static_cast<std::size_t>(rows_at(first, block)));
  }

  pare::Matrix<float> hidden_;
  std::vector<std::uint8_t> visible_;
  Index length_;
};

}  // namespace cli
