#pragma once

#include <cstdint>
#include <string_view>

#include "pare/formats/format.hpp"
#include "pare/formats/rounding.hpp"

namespace pare {

/// Symmetric signed integers of `Bits` bits.
///
///     value = scale * code,  code in [-2^(b-1), 2^(b-1) - 1]
///
/// The full code range is used with either denominator of the scale: with `largest_code` the
/// nearest code of a weight inside the range never is -2^(b-1), an error-compensated one may be.
template <int Bits>
requires(Bits >= 2 && Bits <= 8) struct Int {
  static constexpr char name_data[] = {'i', 'n', 't', '0' + Bits};
  static constexpr std::string_view name{name_data, 4};
  static constexpr int code_bits = Bits;
  static constexpr int code_offset = 1 << (Bits - 1);
  static constexpr bool is_integer = true;
  static constexpr bool has_zero_point = false;
  using Code = std::int8_t;

  struct Parameters {
    float scale = 1.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };

  [[nodiscard]] static constexpr Parameters fit(Range range, const FitOptions& options) noexcept {
    const bool half_range = options.denominator == SymmetricDenominator::half_range ||
                            (options.denominator == SymmetricDenominator::automatic && Bits < 8);
    const float denominator = half_range ? static_cast<float>((1 << Bits) - 1) / 2.0f
                                         : static_cast<float>(code_offset - 1);
    return {fit_scale(range.absmax(), denominator, options.scale_type, options.underflow)};
  }

  [[nodiscard]] static constexpr Code encode(float value, const Parameters& p) noexcept {
    return static_cast<Code>(
        round_to_code(quotient(value, p.scale), 0, -code_offset, code_offset - 1));
  }

  [[nodiscard]] static constexpr float decode(Code code, const Parameters& p) noexcept {
    return p.scale * static_cast<float>(code);
  }

  [[nodiscard]] static constexpr int zero_point(const Parameters&) noexcept { return 0; }
  static constexpr void set_zero_point(Parameters&, int) noexcept {}
};

}  // namespace pare
