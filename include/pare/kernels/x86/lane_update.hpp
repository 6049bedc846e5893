#pragma once

#include <immintrin.h>

#include "pare/core/index.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels {

namespace avx512 {

PARE_TARGET_AVX512 inline void lane_update(const float* u, const float* e, Index count,
                                           float* tile) noexcept {
  const __m512 error = _mm512_loadu_ps(e);
  for (Index j = 0; j < count; ++j, tile += 16)
    _mm512_storeu_ps(tile, _mm512_fnmadd_ps(_mm512_set1_ps(u[j]), error, _mm512_loadu_ps(tile)));
}

}  // namespace avx512

namespace avx2 {

PARE_TARGET_AVX2 inline void lane_update(const float* u, const float* e, Index count,
                                         float* tile) noexcept {
  const __m256 lo = _mm256_loadu_ps(e), hi = _mm256_loadu_ps(e + 8);
  for (Index j = 0; j < count; ++j, tile += 16) {
    const __m256 factor = _mm256_set1_ps(u[j]);
    _mm256_storeu_ps(tile, _mm256_fnmadd_ps(factor, lo, _mm256_loadu_ps(tile)));
    _mm256_storeu_ps(tile + 8, _mm256_fnmadd_ps(factor, hi, _mm256_loadu_ps(tile + 8)));
  }
}

}  // namespace avx2

}  // namespace pare::kernels
