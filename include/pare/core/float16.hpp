#pragma once

#include <bit>
#include <cstdint>

namespace pare {

/// IEEE 754 binary16 as a storage type: arithmetic happens in float.
///
/// float -> Float16 rounds to nearest, ties to even; overflow gives infinity; NaN stays a quiet
/// NaN. Float16 -> float is exact.
struct Float16 {
  std::uint16_t bits = 0;

  Float16() = default;
  constexpr explicit Float16(float value) noexcept : bits(round(value)) {}
  [[nodiscard]] static constexpr Float16 from_bits(std::uint16_t bits) noexcept {
    Float16 result;
    result.bits = bits;
    return result;
  }

  constexpr explicit operator float() const noexcept {
    const std::uint32_t sign = (std::uint32_t{bits} & 0x8000u) << 16;
    const std::uint32_t magnitude = bits & 0x7fffu;
    // Subnormal numbers are made of integers: some threads take subnormal floats for zero.
    const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f;
    const std::uint32_t finite = magnitude < 0x400u ? std::bit_cast<std::uint32_t>(subnormal)
                                                    : (magnitude << 13) + 0x38000000u;
    const std::uint32_t special = magnitude >= 0x7c00u ? 0x7f800000u : 0u;
    return std::bit_cast<float>(finite | special | sign);
  }

  /// Compares the stored bits: a storage type has no arithmetic, and files are compared bitwise.
  friend constexpr bool operator==(Float16, Float16) = default;

 private:
  static constexpr std::uint16_t round(float value) noexcept {
    const std::uint32_t x = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (x >> 16) & 0x8000u;
    const std::uint32_t magnitude = x & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
      return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // >= 65520
    if (magnitude < 0x38800000u) {
      // Below 2^-14 the result is a multiple of 2^-24: adding 0.5 lines the mantissa up with that
      // unit, and the float addition itself rounds to nearest even.
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<std::uint16_t>(sign |
                                        (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
    }
    const std::uint32_t odd = (magnitude >> 13) & 1u;
    return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + odd) >> 13));
  }
};
static_assert(sizeof(Float16) == 2);

/// bfloat16, the upper half of a float32, as a storage type. Rounding as for Float16.
struct BFloat16 {
  std::uint16_t bits = 0;

  BFloat16() = default;
  constexpr explicit BFloat16(float value) noexcept : bits(round(value)) {}
  [[nodiscard]] static constexpr BFloat16 from_bits(std::uint16_t bits) noexcept {
    BFloat16 result;
    result.bits = bits;
    return result;
  }

  constexpr explicit operator float() const noexcept {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
  }

  friend constexpr bool operator==(BFloat16, BFloat16) = default;

 private:
  static constexpr std::uint16_t round(float value) noexcept {
    const std::uint32_t x = std::bit_cast<std::uint32_t>(value);
    if ((x & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((x >> 16) | 0x40u);
    return static_cast<std::uint16_t>((x + 0x7fffu + ((x >> 16) & 1u)) >> 16);
  }
};
static_assert(sizeof(BFloat16) == 2);

}  // namespace pare
