#pragma once

#include <immintrin.h>

#include "pare/core/config.hpp"
#include "pare/kernels/layout/packed_layout.hpp"
#include "pare/kernels/x86/target.hpp"

/// Parameters of a panel in one register. Here and in the kernels some intrinsics carry a full
/// mask, which costs nothing: g++ 12 warns about the undefined operand of their plain forms.
namespace pare::kernels::avx512 {

inline constexpr __mmask16 all = 0xffff;

PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 load_scales(const PackedPanel& w,
                                                        Index group) noexcept {
  const std::byte* p = w.scales + group * (panel_channels * bits(w.scale_type) / 8);
  if (w.scale_type == ScaleType::f32) return _mm512_loadu_ps(p);
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  if (w.scale_type == ScaleType::f16) return _mm512_maskz_cvtph_ps(all, halves);
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(all, _mm512_maskz_cvtepu16_epi32(all, halves), 16));
}

/// As stored.
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i load_zero_points(const PackedPanel& w,
                                                              Index group) noexcept {
  const std::uint8_t* p = w.zero_points + group * panel_channels;
  return _mm512_maskz_cvtepu8_epi32(all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

}  // namespace pare::kernels::avx512
