#pragma once

#include <immintrin.h>

#include "pare/core/config.hpp"
#include "pare/kernels/layout/packed_layout.hpp"
#include "pare/kernels/x86/target.hpp"

/// Parameters of a panel in two registers: `half` is 0 or 8, the first channel of one.
namespace pare::kernels::avx2 {

PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i load_words(const std::uint32_t* p) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 load_scales(const PackedPanel& w, Index group,
                                                      Index half) noexcept {
  const std::byte* p = w.scales + (group * panel_channels + half) * bits(w.scale_type) / 8;
  if (w.scale_type == ScaleType::f32) return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  if (w.scale_type == ScaleType::f16) return _mm256_cvtph_ps(halves);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/// As stored.
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i load_zero_points(const PackedPanel& w, Index group,
                                                            Index half) noexcept {
  const std::uint8_t* p = w.zero_points + group * panel_channels + half;
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

}  // namespace pare::kernels::avx2
