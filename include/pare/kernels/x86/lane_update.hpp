#pragma once

#include <immintrin.h>

#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels {

namespace avx512 {

/// With all errors in registers.
template <int Depth>
PARE_TARGET_AVX512 void lane_update(const float* u, Index u_stride, const float* e, Index count,
                                    float* tile) noexcept {
  __m512 error[Depth];
  PARE_UNROLL
  for (int c = 0; c < Depth; ++c) error[c] = _mm512_loadu_ps(e + 16 * c);
  for (Index j = 0; j < count; ++j, tile += 16) {
    __m512 sum = _mm512_loadu_ps(tile);
    PARE_UNROLL
    for (int c = 0; c < Depth; ++c)
      sum = _mm512_fnmadd_ps(_mm512_set1_ps(u[c * u_stride + j]), error[c], sum);
    _mm512_storeu_ps(tile, sum);
  }
}

PARE_TARGET_AVX512 inline void lane_update(Index depth, const float* u, Index u_stride,
                                           const float* e, Index count, float* tile) noexcept {
  if (depth == 16) return lane_update<16>(u, u_stride, e, count, tile);
  for (Index c = 0; c < depth; ++c) lane_update<1>(u + c * u_stride, 0, e + 16 * c, count, tile);
}

}  // namespace avx512

namespace avx2 {

PARE_TARGET_AVX2 inline void lane_update(Index depth, const float* u, Index u_stride,
                                         const float* e, Index count, float* tile) noexcept {
  for (Index j = 0; j < count; ++j, tile += 16) {
    __m256 lo = _mm256_loadu_ps(tile), hi = _mm256_loadu_ps(tile + 8);
    for (Index c = 0; c < depth; ++c) {
      const __m256 factor = _mm256_set1_ps(u[c * u_stride + j]);
      lo = _mm256_fnmadd_ps(factor, _mm256_loadu_ps(e + 16 * c), lo);
      hi = _mm256_fnmadd_ps(factor, _mm256_loadu_ps(e + 16 * c + 8), hi);
    }
    _mm256_storeu_ps(tile, lo);
    _mm256_storeu_ps(tile + 8, hi);
  }
}

}  // namespace avx2

}  // namespace pare::kernels
