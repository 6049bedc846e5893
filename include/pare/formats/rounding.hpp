#pragma once

#include <cstdint>

#include "pare/core/float_arithmetic.hpp"

namespace pare {

/// Rounds to the nearest integer, ties to even; values beyond 2^22 and NaN are the caller's to
/// exclude. Adding 1.5 * 2^23 pushes the fraction out of the mantissa, so the addition rounds.
[[nodiscard]] constexpr float round_half_even(float x) noexcept {
  return rounded(x + 12582912.0f) - 12582912.0f;
}

/// The one rounding every quantizer uses, real and fake:
///
///     code = clip(round_half_even(quotient) + zero_point, lo, hi)
///
/// How the quotient is formed (quotient(x, scale), or x * (1 / scale)) is the caller's named
/// policy.
///
/// Values    |lo - zero_point| and |hi - zero_point| at most 2^21
/// Edge      infinities clip; NaN gives lo
[[nodiscard]] constexpr std::int32_t round_to_code(float quotient, std::int32_t zero_point,
                                                   std::int32_t lo, std::int32_t hi) noexcept {
  // Clipping to integers first commutes with rounding and keeps the conversion in range.
  const float lowest = static_cast<float>(lo - zero_point);
  const float highest = static_cast<float>(hi - zero_point);
  const float above = quotient > lowest ? quotient : lowest;
  const float inside = above < highest ? above : highest;
  return static_cast<std::int32_t>(round_half_even(inside)) + zero_point;
}

}  // namespace pare
