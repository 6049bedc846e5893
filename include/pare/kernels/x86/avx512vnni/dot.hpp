#pragma once

#include <cstring>

#include "pare/kernels/x86/avx512/panel.hpp"

/// vpdpbusd down the lanes: four products of an unsigned weight and a signed activation code are
/// added to each channel, so there is no horizontal sum and no saturation.
namespace pare::kernels::avx512vnni {

PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE __m512i dot(__m512i sum, __m512i weights,
                                                     __m512i activations) noexcept {
#if PARE_GCC
  // g++ 12 copies and spills accumulators around the intrinsic; a tied operand stops it.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(activations));
  return sum;
#else
  return _mm512_dpbusd_epi32(sum, weights, activations);
#endif
}

PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE __m512i broadcast4(const std::int8_t* codes) noexcept {
  std::int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return _mm512_set1_epi32(four);
}

}  // namespace pare::kernels::avx512vnni
