#pragma once

#include "pare/kernels/contract/float.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/x86/avx2/panel.hpp"

/// Tiles of tokens by 32 channels, 16 at a time: two multiply-adds for every broadcast activation.
namespace pare::kernels::avx2 {

PARE_TARGET_AVX2 PARE_FORCE_INLINE void store_sum(__m256 sum, Index channel, float* y,
                                                  const FloatResult& result) noexcept {
  if (result.bias) sum = _mm256_add_ps(sum, _mm256_loadu_ps(result.bias + channel));
  if (!result.bias || result.accumulate) sum = _mm256_add_ps(sum, _mm256_loadu_ps(y + channel));
  _mm256_storeu_ps(y + channel, sum);
}

template <int Tokens>
PARE_TARGET_AVX2 void float_tile(const float* x, const float* values, Index k_count,
                                 const FloatResult& result) noexcept {
  assert_float_tile(x, values, result, Tokens, 2 * panel_channels);
  for (Index channel = 0; channel < 2 * panel_channels; channel += panel_channels) {
    const float *in = x, *w = values + channel;
    __m256 sums[Tokens][2];
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) sums[i / 2][i % 2] = _mm256_setzero_ps();
    for (Index k = 0; k < k_count; ++k, in += Tokens, w += 2 * panel_channels) {
      const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        const __m256 broadcast = _mm256_set1_ps(in[t]);
        sums[t][0] = _mm256_fmadd_ps(broadcast, w0, sums[t][0]);
        sums[t][1] = _mm256_fmadd_ps(broadcast, w1, sums[t][1]);
      }
    }
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      store_sum(sums[i / 2][i % 2], channel + i % 2 * 8, result.y + i / 2 * result.y_stride,
                result);
  }
}

/// 12 sums, two vectors of weights and a broadcast are 15 of the 16 registers.
inline constexpr TileTable<FloatKernel::Tile> float_tiles{
    {nullptr, nullptr, nullptr, nullptr, &float_tile<4>, nullptr, &float_tile<6>}};

}  // namespace pare::kernels::avx2
