#pragma once

#include <algorithm>
#include <utility>

#include "pare/kernels/contract/sparse.hpp"
#include "pare/kernels/x86/avx512vnni/dot.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Tiles of tokens by a strip of block-sparse weights: as of dense ones, but blocks say where their
/// activations lie.
namespace pare::kernels::avx512vnni {

/// The products of one block.
template <int Tokens, int Vectors>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void add_block(const std::byte* codes,
                                                        const std::int8_t* four,
                                                        __m512i (&sums)[Tokens][Vectors]) noexcept {
  __m512i w[Vectors];
  PARE_UNROLL
  for (int v = 0; v < Vectors; ++v) w[v] = _mm512_loadu_si512(codes + 64 * v);
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    const __m512i x = broadcast4(four + 4 * t);
    PARE_UNROLL
    for (int v = 0; v < Vectors; ++v) sums[t][v] = dot(sums[t][v], x, w[v]);
  }
}

/// The last step of exact sums, as in dense tiles.
template <int Tokens, int Vectors>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void store_blocks(
    const SparseStrip& strip, const IntegerTokens& x, const IntegerResult& result,
    const __m512i (&sums)[Tokens][Vectors]) noexcept {
  PARE_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    const __m512 scale = avx512::load_scales(strip.panels[static_cast<std::size_t>(v)], 0);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      const __m512 scaled = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(avx512::all, sums[t][v]),
                                            scale, _mm512_loadu_ps(result.start + 16 * v));
      float* y = result.y + t * result.y_stride + 16 * v;
      __m512 value = _mm512_fmadd_ps(scaled, _mm512_set1_ps(x.scales[t]),
                                     _mm512_loadu_ps(result.bias + 16 * v));
      if (result.accumulate) value = _mm512_add_ps(value, _mm512_loadu_ps(y));
      _mm512_storeu_ps(y, value);
    }
  }
}

template <int Vectors, int Tokens>
PARE_TARGET_AVX512VNNI void block_tile(const SparseStrip& strip, const IntegerTokens& x,
                                       const IntegerResult& result) noexcept {
  // Independent sums cover the latency of the dot product where tokens alone do not.
  constexpr int chains = std::max(1, 8 / (Tokens * Vectors)), count = Tokens * Vectors;
  constexpr bool few = Tokens <= 4;  // the strip is read once, from far memory
  // The activations of blocks do not follow each other: the first-level cache is told which come.
  // Past the last block there still is memory of the matrix to be read as an index.
  constexpr int near_blocks = 8;
  __m512i sums[chains][Tokens][Vectors];
  PARE_UNROLL
  for (int i = 0; i < chains * count; ++i)
    sums[i / count][i / Vectors % Tokens][i % Vectors] =
        i < count ? _mm512_loadu_si512(strip.compensation + i % Vectors * 16)
                  : _mm512_setzero_si512();

  const std::byte* codes = strip.codes;
  const std::uint16_t* quad = strip.quads;
  const char* ahead = strip.ahead;
  Index blocks = strip.blocks;
  for (; blocks >= chains; blocks -= chains, quad += chains) {
    PARE_UNROLL
    for (int c = 0; c < chains; ++c, codes += 64 * Vectors) {
      if constexpr (few) {
        prefetch_stream<64 * Vectors, LineWork::little>(codes);
      } else {
        _mm_prefetch(ahead, _MM_HINT_T1);
        ahead += strip.ahead_step_bytes;
        _mm_prefetch(
            reinterpret_cast<const char*>(x.codes + Index{quad[c + near_blocks]} * (4 * Tokens)),
            _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(codes + near_blocks * 64 * Vectors),
                     _MM_HINT_T0);
      }
      add_block(codes, x.codes + Index{quad[c]} * (4 * Tokens), sums[c]);
    }
  }
  for (; blocks > 0; --blocks, ++quad, codes += 64 * Vectors)
    add_block(codes, x.codes + Index{*quad} * (4 * Tokens), sums[0]);
  PARE_UNROLL
  for (int i = count; i < chains * count; ++i) {
    __m512i& sum = sums[0][i / Vectors % Tokens][i % Vectors];
    sum = _mm512_add_epi32(sum, sums[i / count][i / Vectors % Tokens][i % Vectors]);
  }
  store_blocks(strip, x, result, sums[0]);
}

template <int Vectors, int... Tokens>
[[nodiscard]] constexpr TileTable<SparseKernel::Tile> block_tiles_up_to(
    std::integer_sequence<int, Tokens...>) noexcept {
  return {{nullptr, &block_tile<Vectors, Tokens + 1>...}};
}

/// 24 sums of 12 tokens by 32 channels, as for dense weights. By 16 channels there are 16 tokens,
/// whose activations of four k are one cache line.
template <class Layout>
[[nodiscard]] constexpr TileTable<SparseKernel::Tile> block_tiles() noexcept {
  if constexpr (Layout::channels == 32)
    return block_tiles_up_to<2>(std::make_integer_sequence<int, 12>());
  else
    return block_tiles_up_to<1>(std::make_integer_sequence<int, 16>());
}

}  // namespace pare::kernels::avx512vnni
