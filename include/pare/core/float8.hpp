#pragma once

#include <bit>
#include <cstdint>

#include "pare/core/float_arithmetic.hpp"

namespace pare {

/// Eight bits of exponent, no sign, no mantissa: 2^(bits - 127), and NaN at 255. A storage type of
/// scales.
///
/// float -> E8M0 rounds to the nearest power of two, 1.5 2^e up, and stays within
/// [2^-127, 2^127]; what is zero, negative or not finite becomes NaN.
/// Source    OCP Microscaling Formats (MX) Specification v1.0, section 5.4.1
struct E8M0 {
  std::uint8_t bits = 0;

  E8M0() = default;
  constexpr explicit E8M0(float value) noexcept : bits(round(value)) {}
  [[nodiscard]] static constexpr E8M0 from_bits(std::uint8_t bits) noexcept {
    E8M0 result;
    result.bits = bits;
    return result;
  }

  constexpr explicit operator float() const noexcept {
    if (bits == 255) return std::bit_cast<float>(0x7fc00000u);
    return std::bit_cast<float>(bits == 0 ? 0x00400000u : std::uint32_t{bits} << 23);
  }

  friend constexpr bool operator==(E8M0, E8M0) = default;

 private:
  static constexpr std::uint8_t round(float value) noexcept {
    const std::uint32_t x = std::bit_cast<std::uint32_t>(value);
    if (x == 0 || x >= 0x7f800000u) return 255;
    if (x < 0x00800000u) return x < 0x00600000u ? 0 : 1;  // subnormal: below 2^-127 too
    const std::uint32_t exponent = (x + 0x00400000u) >> 23;
    return static_cast<std::uint8_t>(exponent < 254u ? exponent : 254u);
  }
};
static_assert(sizeof(E8M0) == 1);

/// The 8-bit floating point E4M3 of deep learning (E4M3FN): no infinities, largest 448, NaN at 127
/// and 255. A storage type: arithmetic happens in float.
///
/// float -> E4M3 rounds to nearest, ties to even; what is beyond 448 saturates, NaN stays NaN.
/// Source    Micikevicius et al., "FP8 Formats for Deep Learning", 2022; OCP OFP8 v1.0
struct E4M3 {
  std::uint8_t bits = 0;

  E4M3() = default;
  constexpr explicit E4M3(float value) noexcept : bits(round(value)) {}
  [[nodiscard]] static constexpr E4M3 from_bits(std::uint8_t bits) noexcept {
    E4M3 result;
    result.bits = bits;
    return result;
  }

  constexpr explicit operator float() const noexcept {
    const std::uint32_t sign = (std::uint32_t{bits} & 0x80u) << 24, magnitude = bits & 0x7fu;
    const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-9f;
    const std::uint32_t finite =
        magnitude < 8u ? std::bit_cast<std::uint32_t>(subnormal) : (magnitude << 20) + (120u << 23);
    return std::bit_cast<float>((magnitude == 0x7fu ? 0x7fc00000u : finite) | sign);
  }

  friend constexpr bool operator==(E4M3, E4M3) = default;

 private:
  static constexpr std::uint8_t round(float value) noexcept {
    const std::uint32_t x = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (x >> 24) & 0x80u, magnitude = x & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<std::uint8_t>(sign | 0x7fu);
    if (magnitude >= 0x43e00000u) return static_cast<std::uint8_t>(sign | 0x7eu);  // >= 448
    if (magnitude < 0x3c800000u) {  // below 2^-6: multiples of 2^-9, as Float16 does it
      const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
      return static_cast<std::uint8_t>(
          sign | (std::bit_cast<std::uint32_t>(rounded(shifted)) - 0x46800000u));
    }
    const std::uint32_t odd = (magnitude >> 20) & 1u;
    return static_cast<std::uint8_t>(sign | ((magnitude - 0x3c000000u + 0x7ffffu + odd) >> 20));
  }
};
static_assert(sizeof(E4M3) == 1);

}  // namespace pare
