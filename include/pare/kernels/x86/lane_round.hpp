#pragma once

#include <immintrin.h>

#include "pare/kernels/contract/lane_round.hpp"
#include "pare/kernels/x86/target.hpp"

/// Divisions are spelled so that -ffast-math does not make products with estimated reciprocals of
/// them. The quotient is clipped before it is rounded, as in round_to_code: max takes its second
/// operand when the first is NaN.
namespace pare::kernels {

namespace avx512 {

PARE_TARGET_AVX512 inline void lane_round(const float* values, const LaneParameters& p,
                                          std::int32_t* codes, float* kept) noexcept {
  constexpr __mmask16 every = 0xffff;
  const __m512 scale = _mm512_loadu_ps(p.scales);
  const __m512i zero_point = _mm512_loadu_si512(p.zero_points);
  const __m512 lo =
      _mm512_maskz_cvtepi32_ps(every, _mm512_sub_epi32(_mm512_set1_epi32(p.lo), zero_point));
  const __m512 hi =
      _mm512_maskz_cvtepi32_ps(every, _mm512_sub_epi32(_mm512_set1_epi32(p.hi), zero_point));
  constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  const __m512 quotient = _mm512_maskz_div_round_ps(every, _mm512_loadu_ps(values), scale, nearest);
  const __m512 inside = _mm512_maskz_min_ps(every, _mm512_maskz_max_ps(every, quotient, lo), hi);
  const __m512i level = _mm512_maskz_cvtps_epi32(every, inside);
  _mm512_storeu_si512(codes, _mm512_add_epi32(level, zero_point));
  _mm512_storeu_ps(kept, _mm512_mul_ps(scale, _mm512_maskz_cvtepi32_ps(every, level)));
}

}  // namespace avx512

namespace avx2 {

PARE_TARGET_AVX2 inline void lane_round(const float* values, const LaneParameters& p,
                                        std::int32_t* codes, float* kept) noexcept {
  for (int l = 0; l < 16; l += 8) {
    const __m256 scale = _mm256_loadu_ps(p.scales + l);
    const __m256i zero_point =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p.zero_points + l));
    const __m256 lo = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(p.lo), zero_point));
    const __m256 hi = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(p.hi), zero_point));
    const __m256 value = _mm256_loadu_ps(values + l);
    __m256 quotient;
    __asm__("vdivps %2, %1, %0" : "=x"(quotient) : "x"(value), "x"(scale));
    const __m256i level = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(quotient, lo), hi));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + l), _mm256_add_epi32(level, zero_point));
    _mm256_storeu_ps(kept + l, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(level)));
  }
}

}  // namespace avx2

}  // namespace pare::kernels
