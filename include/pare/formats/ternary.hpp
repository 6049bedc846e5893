#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "pare/core/index.hpp"
#include "pare/formats/format.hpp"
#include "pare/formats/rounding.hpp"

namespace pare {

/// Three values in 2 bits; the fourth stored number stands for nothing.
///
///     value = scale * code,  code in {-1, 0, 1},  scale = mean |w| of the block
///
/// Source    Ma et al., "The Era of 1-bit LLMs" (BitNet b1.58), 2024, section 2. Departs: a block
///           is what the quantizer says, not the whole matrix, and the scale has no lower bound.
struct Ternary {
  static constexpr std::string_view name = "ternary";
  static constexpr int code_bits = 2;
  static constexpr int code_offset = 1;
  static constexpr int code_count = 3;
  static constexpr bool is_integer = true;
  static constexpr bool has_zero_point = false;
  using Code = std::int8_t;

  struct Parameters {
    float scale = 1.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };

  /// For what is known by its range alone: the outermost values are exact.
  [[nodiscard]] static constexpr Parameters fit(Range range, const FitOptions& options) noexcept {
    return {fit_scale(range.absmax(), 1.0f, options.scale_type, options.underflow)};
  }

  /// The mean is summed in double, in order.
  [[nodiscard]] static Parameters fit_values(const float* values, Index count, Index stride,
                                             const FitOptions& options) noexcept {
    double sum = 0.0;
    for (Index i = 0; i < count; ++i)
      sum = rounded(sum + static_cast<double>(std::fabs(values[i * stride])));
    const auto mean = static_cast<float>(quotient(sum, static_cast<double>(count)));
    return {fit_scale(mean, 1.0f, options.scale_type, options.underflow)};
  }

  [[nodiscard]] static constexpr Code encode(float value, const Parameters& p) noexcept {
    return static_cast<Code>(round_to_code(quotient(value, p.scale), 0, -1, 1));
  }

  [[nodiscard]] static constexpr float decode(Code code, const Parameters& p) noexcept {
    return p.scale * static_cast<float>(code);
  }

  [[nodiscard]] static constexpr int zero_point(const Parameters&) noexcept { return 0; }
  static constexpr void set_zero_point(Parameters&, int) noexcept {}
};

}  // namespace pare
