#pragma once

#include <cstdint>
#include <string_view>

#include "pare/formats/format.hpp"
#include "pare/formats/rounding.hpp"

namespace pare {

/// Unsigned integers of `Bits` bits with a zero point.
///
///     value = scale * (code - zero_point),  code and zero_point in [0, 2^b - 1]
template <int Bits>
requires(Bits >= 2 && Bits <= 8) struct UInt {
  static constexpr char name_data[] = {'u', 'i', 'n', 't', '0' + Bits};
  static constexpr std::string_view name{name_data, 5};
  static constexpr int code_bits = Bits;
  static constexpr int code_offset = 0;
  static constexpr int largest_code = (1 << Bits) - 1;
  static constexpr bool is_integer = true;
  static constexpr bool has_zero_point = true;
  using Code = std::uint8_t;

  struct Parameters {
    float scale = 1.0f;
    std::int32_t zero_point = 0;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };

  /// The zero point is found with the scale as stored, so that it is exact for what ships.
  [[nodiscard]] static constexpr Parameters fit(Range range, const FitOptions& options) noexcept {
    float width = range.hi - range.lo;
    if (options.extend_to_zero || width == 0.0f) {
      range = {range.lo < 0.0f ? range.lo : 0.0f, range.hi > 0.0f ? range.hi : 0.0f};
      width = range.hi - range.lo;
    } else if (width < 1e-5f) {
      width = 1e-5f;  // as AWQ's quantizer
    }
    Parameters p;
    p.scale =
        fit_scale(width, static_cast<float>(largest_code), options.scale_type, options.underflow);
    if (is_usable_scale(p.scale))
      p.zero_point = round_to_code(quotient(-range.lo, p.scale), 0, 0, largest_code);
    return p;
  }

  [[nodiscard]] static constexpr Code encode(float value, const Parameters& p) noexcept {
    return static_cast<Code>(
        round_to_code(quotient(value, p.scale), p.zero_point, 0, largest_code));
  }

  [[nodiscard]] static constexpr float decode(Code code, const Parameters& p) noexcept {
    return p.scale * static_cast<float>(code - p.zero_point);
  }

  [[nodiscard]] static constexpr int zero_point(const Parameters& p) noexcept {
    return p.zero_point;
  }
  static constexpr void set_zero_point(Parameters& p, int zero_point) noexcept {
    p.zero_point = zero_point;
  }
};

}  // namespace pare
