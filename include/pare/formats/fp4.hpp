#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string_view>

#include "pare/core/float_arithmetic.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// 4-bit floating point E2M1, scaled so that the block's absmax is the largest value.
///
///     value = scale * codebook[code],  scale = absmax / 6;  bit 3 of the code is the sign
///
/// Not the "fp4" of bitsandbytes, which has a codebook of its own.
///
/// Edge      a value halfway between two entries takes the one with the even mantissa; what is
///           beyond the largest saturates; the sign is kept where the magnitude rounds to zero
/// Source    OCP Microscaling Formats (MX) Specification v1.0, section 5.3.3
struct FP4 {
  static constexpr std::string_view name = "fp4";
  static constexpr int code_bits = 4;
  static constexpr int code_offset = 0;
  static constexpr bool is_integer = false;
  static constexpr bool has_zero_point = false;
  using Code = std::uint8_t;

  static constexpr std::array<float, 16> codebook{0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,
                                                  4.0f,  6.0f,  -0.0f, -0.5f, -1.0f, -1.5f,
                                                  -2.0f, -3.0f, -4.0f, -6.0f};

  struct Parameters {
    float scale = 1.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };

  [[nodiscard]] static constexpr Parameters fit(Range range, const FitOptions& options) noexcept {
    return {fit_scale(range.absmax(), codebook[7], options.scale_type, options.underflow)};
  }

  /// Counts the midpoints below the magnitude: no branch depends on the data.
  [[nodiscard]] static constexpr Code encode(float value, const Parameters& p) noexcept {
    const unsigned sign = std::bit_cast<std::uint32_t>(value) >> 31;
    const float magnitude = quotient(sign ? -value : value, p.scale);
    int code = 0;
    for (std::size_t i = 0; i < 7; ++i) {
      // The last bit of the code is the mantissa: a tie goes up from an odd code.
      const float midpoint = (codebook[i] + codebook[i + 1]) * 0.5f;
      code += i % 2 == 0 ? magnitude > midpoint : magnitude >= midpoint;
    }
    return static_cast<Code>(code | static_cast<int>(sign << 3));
  }

  [[nodiscard]] static constexpr float decode(Code code, const Parameters& p) noexcept {
    return p.scale * codebook[code];
  }

  [[nodiscard]] static constexpr int zero_point(const Parameters&) noexcept { return 0; }
  static constexpr void set_zero_point(Parameters&, int) noexcept {}
};

}  // namespace pare
