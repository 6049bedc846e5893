#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "pare/core/float_arithmetic.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// 4-bit NormalFloat: sixteen quantiles of a normal distribution, scaled by the block's absmax.
///
///     value = scale * codebook[code]
///
/// Edge      a value halfway between two entries takes the lower code
/// Source    Dettmers et al., "QLoRA: Efficient Finetuning of Quantized LLMs", 2023, appendix E.
///           Departs: weights are divided by absmax, not multiplied with its reciprocal.
struct NF4 {
  static constexpr std::string_view name = "nf4";
  static constexpr int code_bits = 4;
  static constexpr int code_offset = 0;
  static constexpr bool is_integer = false;
  static constexpr bool has_zero_point = false;
  using Code = std::uint8_t;

  static constexpr std::array<float, 16> codebook{-1.0f,
                                                  -0.6961928009986877f,
                                                  -0.5250730514526367f,
                                                  -0.39491748809814453f,
                                                  -0.28444138169288635f,
                                                  -0.18477343022823334f,
                                                  -0.09105003625154495f,
                                                  0.0f,
                                                  0.07958029955625534f,
                                                  0.16093020141124725f,
                                                  0.24611230194568634f,
                                                  0.33791524171829224f,
                                                  0.44070982933044434f,
                                                  0.5626170039176941f,
                                                  0.7229568362236023f,
                                                  1.0f};

  struct Parameters {
    float scale = 1.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };

  [[nodiscard]] static constexpr Parameters fit(Range range, const FitOptions& options) noexcept {
    return {fit_scale(range.absmax(), 1.0f, options.scale_type, options.underflow)};
  }

  /// Counts the midpoints below the normalized value: no branch depends on the data.
  [[nodiscard]] static constexpr Code encode(float value, const Parameters& p) noexcept {
    const float normalized = quotient(value, p.scale);
    int code = 0;
    for (std::size_t i = 0; i + 1 < codebook.size(); ++i)
      code += normalized > (codebook[i] + codebook[i + 1]) * 0.5f;
    return static_cast<Code>(code);
  }

  [[nodiscard]] static constexpr float decode(Code code, const Parameters& p) noexcept {
    return p.scale * codebook[code];
  }

  [[nodiscard]] static constexpr int zero_point(const Parameters&) noexcept { return 0; }
  static constexpr void set_zero_point(Parameters&, int) noexcept {}
};

}  // namespace pare
