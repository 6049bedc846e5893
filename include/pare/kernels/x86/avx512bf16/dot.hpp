#pragma once

#include "pare/kernels/x86/avx512/panel.hpp"

namespace pare::kernels::avx512bf16 {

/// Adds two products of bf16 numbers to each lane; denormal numbers count as 0.
PARE_TARGET_AVX512BF16 PARE_FORCE_INLINE __m512 dot(__m512 sum, __m512i weights,
                                                    __m512i activations) noexcept {
#if PARE_GCC
  // g++ 12 copies and spills accumulators around the intrinsic; a tied operand stops it.
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(activations));
  return sum;
#else
  return _mm512_dpbf16_ps(sum, (__m512bh)weights, (__m512bh)activations);
#endif
}

/// A pair of activations in every lane.
PARE_TARGET_AVX512BF16 PARE_FORCE_INLINE __m512i broadcast_pair(const float* pair) noexcept {
  return _mm512_castps_si512(_mm512_set1_ps(*pair));
}

}  // namespace pare::kernels::avx512bf16
