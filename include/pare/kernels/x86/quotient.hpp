#pragma once

#include <immintrin.h>

#include "pare/core/config.hpp"
#include "pare/kernels/x86/target.hpp"

/// Quotients by one divisor without dividing: three instructions that pipeline.
///
///     q0 = x r,  q = q0 + (x - q0 s) r      with r = 1 / s rounded to nearest
///
/// q is x / s rounded to nearest, bit for bit: by Markstein's theorem one step with a correctly
/// rounded reciprocal suffices, as long as remainder and products are in range. Quotients below
/// 1/4 in magnitude may be off by a bit of the subnormal numbers: they round to 0 either way.
namespace pare::kernels {

/// Remainders of quotients of at least 1/4 are multiples of 2^-48 s / 4 and must be floats.
[[nodiscard]] inline bool has_exact_quotients(float s) noexcept {
  return s >= 0x1p-99f && s <= 0x1p125f;
}

namespace avx512 {

struct Divisor {
  __m512 value, reciprocal;
};

PARE_TARGET_AVX512 PARE_FORCE_INLINE Divisor make_divisor(float s) noexcept {
  return {_mm512_set1_ps(s), _mm512_set1_ps(1.0f / s)};
}

PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 quotient(__m512 x, const Divisor& s) noexcept {
  const __m512 q = _mm512_mul_ps(x, s.reciprocal);
  return _mm512_fmadd_ps(_mm512_fnmadd_ps(q, s.value, x), s.reciprocal, q);
}

/// x, or a number of its sign and of magnitude `limit` when that is smaller.
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 limited(__m512 x, __m512 limit) noexcept {
  constexpr int smaller_magnitude = 2;
  return _mm512_maskz_range_ps(0xffff, x, limit, smaller_magnitude);
}

}  // namespace avx512

namespace avx2 {

struct Divisor {
  __m256 value, reciprocal;
};

PARE_TARGET_AVX2 PARE_FORCE_INLINE Divisor make_divisor(float s) noexcept {
  return {_mm256_set1_ps(s), _mm256_set1_ps(1.0f / s)};
}

PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 quotient(__m256 x, const Divisor& s) noexcept {
  const __m256 q = _mm256_mul_ps(x, s.reciprocal);
  return _mm256_fmadd_ps(_mm256_fnmadd_ps(q, s.value, x), s.reciprocal, q);
}

PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 limited(__m256 x, __m256 limit) noexcept {
  const __m256 lowest = _mm256_xor_ps(limit, _mm256_set1_ps(-0.0f));
  return _mm256_min_ps(_mm256_max_ps(x, lowest), limit);
}

}  // namespace avx2

}  // namespace pare::kernels
