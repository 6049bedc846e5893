#pragma once

#include "pare/kernels/reference/quantize_activations.hpp"
#include "pare/kernels/x86/avx512_panel.hpp"

/// Whole vectors here, the rest of a row by the reference: codes are equal bit by bit, because
/// division is exact to rounding everywhere and the conversion rounds ties to even.
namespace pare::kernels::avx512 {

PARE_TARGET_AVX512 inline float absmax(const float* x, Index count) noexcept {
  const __m512i magnitude_bits = _mm512_set1_epi32(0x7fffffff);
  __m512i largest = _mm512_setzero_si512();
  Index i = 0;
  for (; i + 16 <= count; i += 16)
    largest = _mm512_maskz_max_epi32(all, largest,
                                     _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude_bits));
  alignas(64) float lanes[17];
  _mm512_store_si512(lanes, largest);
  lanes[16] = reference::absmax(x + i, count - i);
  return reference::absmax(lanes, 17);
}

PARE_TARGET_AVX512 inline void quantize_row(const float* x, Index count,
                                            const ActivationParameters& p,
                                            std::int8_t* codes) noexcept {
  const __m512 scale = _mm512_set1_ps(p.scale);
  const __m512 lowest = _mm512_set1_ps(static_cast<float>(p.lowest_code - p.zero_point));
  const __m512 highest = _mm512_set1_ps(static_cast<float>(127 - p.zero_point));
  const __m512i zero_point = _mm512_set1_epi32(p.zero_point);
  Index i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512 quotient = _mm512_div_ps(_mm512_loadu_ps(x + i), scale);
    const __m512 inside =
        _mm512_maskz_min_ps(all, _mm512_maskz_max_ps(all, quotient, lowest), highest);
    const __m512i code = _mm512_add_epi32(_mm512_maskz_cvtps_epi32(all, inside), zero_point);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), _mm512_maskz_cvtepi32_epi8(all, code));
  }
  reference::quantize_row(x + i, count - i, p, codes + i);
}

inline constexpr ActivationKernel activation_kernel{&absmax, &quantize_row};

}  // namespace pare::kernels::avx512

namespace pare::kernels::avx2 {

PARE_TARGET_AVX2 inline float absmax(const float* x, Index count) noexcept {
  const __m256i magnitude_bits = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  Index i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
    largest = _mm256_max_epi32(largest, _mm256_and_si256(bits, magnitude_bits));
  }
  alignas(32) float lanes[9];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), largest);
  lanes[8] = reference::absmax(x + i, count - i);
  return reference::absmax(lanes, 9);
}

PARE_TARGET_AVX2 inline void quantize_row(const float* x, Index count,
                                          const ActivationParameters& p,
                                          std::int8_t* codes) noexcept {
  const __m256 scale = _mm256_set1_ps(p.scale);
  const __m256 lowest = _mm256_set1_ps(static_cast<float>(p.lowest_code - p.zero_point));
  const __m256 highest = _mm256_set1_ps(static_cast<float>(127 - p.zero_point));
  const __m256i zero_point = _mm256_set1_epi32(p.zero_point);
  Index i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256 quotient = _mm256_div_ps(_mm256_loadu_ps(x + i), scale);
    const __m256 inside = _mm256_min_ps(_mm256_max_ps(quotient, lowest), highest);
    const __m256i code = _mm256_add_epi32(_mm256_cvtps_epi32(inside), zero_point);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(code), _mm256_extracti128_si256(code, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(codes + i), _mm_packs_epi16(words, words));
  }
  reference::quantize_row(x + i, count - i, p, codes + i);
}

inline constexpr ActivationKernel activation_kernel{&absmax, &quantize_row};

}  // namespace pare::kernels::avx2
