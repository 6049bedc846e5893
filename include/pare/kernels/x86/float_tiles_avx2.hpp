#pragma once

#include "pare/kernels/float_kernel.hpp"
#include "pare/kernels/x86/avx2_panel.hpp"

/// Tiles of tokens by 32 channels, 16 at a time: two multiply-adds for every broadcast activation.
namespace pare::kernels::avx2 {

PARE_TARGET_AVX2 PARE_FORCE_INLINE void store_sum(__m256 sum, Index channel, float* y,
                                                  const FloatResult& result) noexcept {
  if (result.bias) sum = _mm256_add_ps(sum, _mm256_loadu_ps(result.bias + channel));
  if (!result.bias || result.accumulate) sum = _mm256_add_ps(sum, _mm256_loadu_ps(y + channel));
  _mm256_storeu_ps(y + channel, sum);
}

/// Two sums over k for each of three tokens cover the latency of the multiply-add; k_count is a
/// multiple of 8.
template <int Tokens>
PARE_TARGET_AVX2 void float_tile(const float* x, const float* values, Index k_count,
                                 const FloatResult& result) noexcept {
  constexpr int chains = Tokens >= 4 ? 1 : 2;
  for (Index channel = 0; channel < 2 * panel_channels; channel += panel_channels) {
    const float *in = x, *w = values + channel;
    __m256 sums[Tokens][2][chains];
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens * chains; ++i)
      sums[i / chains / 2][i / chains % 2][i % chains] = _mm256_setzero_ps();
    for (Index k = 0; k < k_count; k += chains) {
      PARE_UNROLL
      for (int c = 0; c < chains; ++c, in += Tokens, w += 2 * panel_channels) {
        const __m256 w0 = _mm256_loadu_ps(w), w1 = _mm256_loadu_ps(w + 8);
        PARE_UNROLL
        for (int t = 0; t < Tokens; ++t) {
          const __m256 broadcast = _mm256_set1_ps(in[t]);
          sums[t][0][c] = _mm256_fmadd_ps(broadcast, w0, sums[t][0][c]);
          sums[t][1][c] = _mm256_fmadd_ps(broadcast, w1, sums[t][1][c]);
        }
      }
    }
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) {
      __m256 sum = sums[i / 2][i % 2][0];
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sum = _mm256_add_ps(sum, sums[i / 2][i % 2][c]);
      store_sum(sum, channel + i % 2 * 8, result.y + i / 2 * result.y_stride, result);
    }
  }
}

/// 12 sums, two vectors of weights and a broadcast are 15 of the 16 registers.
inline constexpr TileTable<FloatKernel::Tile> float_tiles{
    {nullptr, nullptr, nullptr, &float_tile<3>, &float_tile<4>, &float_tile<5>, &float_tile<6>}};

}  // namespace pare::kernels::avx2
