#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"
#include "pare/core/tensor.hpp"

namespace engine {

using pare::Index;

/// What enters a model: sequences of one length, of tokens or of images' patches.
struct ModelInputs {
  Index length = 0;                   ///< tokens per sequence
  std::vector<std::int32_t> ids{};    ///< of all sequences, one after the other
  std::vector<std::int32_t> types{};  ///< as many, or none: all 0
  /// As many, 0 for tokens that no other sees; none where all are seen.
  std::vector<std::uint8_t> visible{};
  pare::Matrix<float> pixels{};  ///< (images, channels * height * width), in place of ids

  [[nodiscard]] Index count() const noexcept {
    return pixels.empty() ? static_cast<Index>(ids.size()) / length : pixels.rows();
  }
  [[nodiscard]] Index tokens() const noexcept { return count() * length; }
  /// Some of the sequences.
  [[nodiscard]] ModelInputs slice(Index first, Index count) const {
    const auto part = [&](const auto& all) {
      using Values = std::remove_cvref_t<decltype(all)>;
      return all.empty()
                 ? Values()
                 : Values(all.begin() + first * length, all.begin() + (first + count) * length);
    };
    ModelInputs some{length, part(ids), part(types), part(visible), {}};
    if (!pixels.empty()) some.pixels = pare::Matrix<float>(pixels.view().slice(0, first, count));
    return some;
  }
};

}  // namespace engine
