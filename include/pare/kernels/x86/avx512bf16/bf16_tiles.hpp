#pragma once

#include "pare/kernels/contract/bf16.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/x86/avx512/float_tiles.hpp"
#include "pare/kernels/x86/avx512bf16/dot.hpp"

/// Tiles of tokens by 32 channels: two dot products for every broadcast pair of activations.
namespace pare::kernels::avx512bf16 {

template <int Tokens>
PARE_TARGET_AVX512BF16 PARE_FORCE_INLINE void add_quads(const float*& x,
                                                        const std::uint32_t*& values, Index quads,
                                                        __m512 (&sums)[Tokens][2]) noexcept {
  for (; quads > 0; --quads) {
    PARE_UNROLL
    for (int pair = 0; pair < 2; ++pair, x += Tokens, values += 2 * panel_channels) {
      const __m512i w0 = _mm512_loadu_si512(values);
      const __m512i w1 = _mm512_loadu_si512(values + panel_channels);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        const __m512i activations = broadcast_pair(x + t);
        sums[t][0] = dot(sums[t][0], w0, activations);
        sums[t][1] = dot(sums[t][1], w1, activations);
      }
    }
  }
}

template <int Tokens>
PARE_TARGET_AVX512BF16 void bf16_tile(const float* x, const Bf16Weights& w,
                                      const FloatResult& result) noexcept {
  assert_float_tile(x, w.values, result, Tokens, 2 * panel_channels);
  PARE_ASSERT(w.group_quads > 0);
  __m512 scaled[Tokens][2];
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) scaled[t][0] = scaled[t][1] = _mm512_setzero_ps();
  const std::uint32_t* values = w.values;
  const float* scales = w.scales;
  for (Index left = w.quads; left > 0; left -= w.group_quads, scales += 2 * panel_channels) {
    __m512 sums[Tokens][2];
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) sums[t][0] = sums[t][1] = _mm512_setzero_ps();
    add_quads(x, values, left < w.group_quads ? left : w.group_quads, sums);
    const __m512 s0 = _mm512_loadu_ps(scales), s1 = _mm512_loadu_ps(scales + panel_channels);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      scaled[t][0] = _mm512_fmadd_ps(sums[t][0], s0, scaled[t][0]);
      scaled[t][1] = _mm512_fmadd_ps(sums[t][1], s1, scaled[t][1]);
    }
  }
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    avx512::store_sum(scaled[i / 2][i % 2], i % 2 * panel_channels,
                      result.y + i / 2 * result.y_stride, result);
}

/// 14 sums of a group and as many scaled ones leave four registers for operands. Up to four tokens
/// run on packed codes, and tiles are of nearly equal size: there are no smaller ones.
inline constexpr TileTable<Bf16Kernel::Tile> bf16_tiles{{nullptr, nullptr, nullptr, nullptr,
                                                         &bf16_tile<4>, &bf16_tile<5>,
                                                         &bf16_tile<6>, &bf16_tile<7>}};

}  // namespace pare::kernels::avx512bf16
