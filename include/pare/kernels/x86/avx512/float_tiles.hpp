#pragma once

#include "pare/kernels/contract/float.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/x86/avx512/panel.hpp"

/// Tiles of tokens by 32 channels: two multiply-adds for every broadcast activation.
namespace pare::kernels::avx512 {

PARE_TARGET_AVX512 PARE_FORCE_INLINE void store_sum(__m512 sum, Index channel, float* y,
                                                    const FloatResult& result) noexcept {
  if (result.bias) sum = _mm512_add_ps(sum, _mm512_loadu_ps(result.bias + channel));
  if (!result.bias || result.accumulate) sum = _mm512_add_ps(sum, _mm512_loadu_ps(y + channel));
  _mm512_storeu_ps(y + channel, sum);
}

template <int Tokens>
PARE_TARGET_AVX512 void float_tile(const float* x, const float* values, Index k_count,
                                   const FloatResult& result) noexcept {
  assert_float_tile(x, values, result, Tokens, 2 * panel_channels);
  __m512 sums[Tokens][2];
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) sums[i / 2][i % 2] = _mm512_setzero_ps();
  for (Index k = 0; k < k_count; ++k, x += Tokens, values += 2 * panel_channels) {
    const __m512 w0 = _mm512_loadu_ps(values), w1 = _mm512_loadu_ps(values + panel_channels);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      const __m512 broadcast = _mm512_set1_ps(x[t]);
      sums[t][0] = _mm512_fmadd_ps(broadcast, w0, sums[t][0]);
      sums[t][1] = _mm512_fmadd_ps(broadcast, w1, sums[t][1]);
    }
  }
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    store_sum(sums[i / 2][i % 2], i % 2 * panel_channels, result.y + i / 2 * result.y_stride,
              result);
}

/// 28 sums, two vectors of weights and a broadcast are 31 of the 32 registers.
inline constexpr TileTable<FloatKernel::Tile> float_tiles{
    {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, &float_tile<6>, nullptr, &float_tile<8>,
     nullptr, &float_tile<10>, nullptr, &float_tile<12>, nullptr, &float_tile<14>}};

}  // namespace pare::kernels::avx512
