#pragma once

#include <cstring>

#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/x86/avx2/panel.hpp"

/// Tiles of tokens by 16 channels in registers of 256 bits, for AVX2 and AVX-VNNI. `Products` says
/// how a family multiplies: `add_quads` adds the products of some four k to the sums of a tile.
namespace pare::kernels::avx2 {

PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i load(const void* p) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
PARE_TARGET_AVX2 PARE_FORCE_INLINE void store(void* p, __m256i x) noexcept {
  _mm256_storeu_si256(static_cast<__m256i*>(p), x);
}

/// Four bytes or two words in every lane.
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i broadcast_lane(const std::int8_t* codes) noexcept {
  std::int32_t lane;
  std::memcpy(&lane, codes, sizeof(lane));
  return _mm256_set1_epi32(lane);
}

/// Where a tile reads.
struct Streams {
  const std::uint8_t* weights;
  const std::int8_t* codes;
  const char* ahead;
  Index ahead_step_bytes;

  PARE_TARGET_AVX2 PARE_FORCE_INLINE void prefetch() noexcept {
    _mm_prefetch(ahead, _MM_HINT_T1);
    ahead += ahead_step_bytes;
  }
};

template <int Tokens>
PARE_TARGET_AVX2 PARE_FORCE_INLINE void start_sums(const std::int32_t* offsets,
                                                   const std::int32_t* zero_points,
                                                   __m256i (&sums)[Tokens][2]) noexcept {
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) sums[t][0] = sums[t][1] = _mm256_set1_epi32(offsets[t]);
  if (zero_points) {
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      sums[i / 2][i % 2] = _mm256_mullo_epi32(sums[i / 2][i % 2], load(zero_points + i % 2 * 8));
  }
}

PARE_TARGET_AVX2 PARE_FORCE_INLINE void store_result(__m256 sum, int token, int half,
                                                     const IntegerTokens& x,
                                                     const IntegerResult& result) noexcept {
  float* y = result.y + token * result.y_stride + 8 * half;
  __m256 value = _mm256_fmadd_ps(sum, _mm256_set1_ps(x.scales[token]),
                                 _mm256_loadu_ps(result.bias + 8 * half));
  if (result.accumulate) value = _mm256_add_ps(value, _mm256_loadu_ps(y));
  _mm256_storeu_ps(y, value);
}

/// One segment: 32-bit sums over all columns.
template <class Products, int Tokens>
PARE_TARGET_AVX2 PARE_FORCE_INLINE void row_tile(const IntegerWeights& w, const IntegerTokens& x,
                                                 const IntegerResult& result) noexcept {
  assert_row_tile(w, x, result, Tokens, panel_channels);
  __m256i sums[Tokens][2];
  if (result.first) {
    start_sums(x.offsets, w.zero_points, sums);
  } else {
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) sums[i / 2][i % 2] = load(result.partial + 8 * i);
  }
  Streams in{w.codes, x.codes, w.ahead, w.ahead_step_bytes};
  Products::add_quads(in, w.segments[0].units * w.unit_quads, sums);
  if (!result.last) {
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) store(result.partial + 8 * i, sums[i / 2][i % 2]);
    return;
  }
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) {
    const __m256 sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i / 2][i % 2]),
                                       _mm256_loadu_ps(w.scales + i % 2 * 8),
                                       _mm256_loadu_ps(result.start + i % 2 * 8));
    store_result(sum, i / 2, i % 2, x, result);
  }
}

/// Registers hold the integer sums of a segment only: scaled ones stay in `partial`.
template <class Products, int Tokens>
PARE_TARGET_AVX2 PARE_FORCE_INLINE void group_tile(const IntegerWeights& w, const IntegerTokens& x,
                                                   const IntegerResult& result) noexcept {
  assert_group_tile(w, x, result, Tokens, panel_channels);
  PARE_ASSERT(result.partial);
  float* scaled = result.partial;
  if (result.first) {
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      _mm256_storeu_ps(scaled + 8 * i, _mm256_loadu_ps(result.start + i % 2 * 8));
  }
  Streams in{w.codes, x.codes, w.ahead, w.ahead_step_bytes};
  const float* scales = w.scales;
  for (Index s = 0; s < w.segment_count; ++s, scales += panel_channels) {
    // g++ 12 would keep what it stores for the next round, on the stack.
    asm("" : "+r"(scaled));
    __m256i sums[Tokens][2];
    start_sums(x.offsets + s * Tokens, w.zero_points ? w.zero_points + panel_channels * s : nullptr,
               sums);
    Products::add_quads(in, w.segments[s].units * w.unit_quads, sums);
    __m256 values[Tokens][2];
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      values[i / 2][i % 2] = _mm256_cvtepi32_ps(sums[i / 2][i % 2]);
    if (x.segment_scales) {
      PARE_UNROLL
      for (int i = 0; i < 2 * Tokens; ++i)
        values[i / 2][i % 2] = _mm256_mul_ps(values[i / 2][i % 2],
                                             _mm256_set1_ps(x.segment_scales[s * Tokens + i / 2]));
    }
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      _mm256_storeu_ps(scaled + 8 * i,
                       _mm256_fmadd_ps(values[i / 2][i % 2], _mm256_loadu_ps(scales + i % 2 * 8),
                                       _mm256_loadu_ps(scaled + 8 * i)));
  }
  if (!result.last) return;
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    store_result(_mm256_loadu_ps(scaled + 8 * i), i / 2, i % 2, x, result);
}

/// kernels::run_tiles for this target: only so can the tile be inlined.
template <auto Tile, int Tokens>
PARE_TARGET_AVX2 void run_tiles(const IntegerWeights& weights, const IntegerTokens& tokens,
                                const IntegerResult& results, const TileRun& run) noexcept {
  IntegerWeights w = weights;
  IntegerTokens x = tokens;
  IntegerResult result = results;
  for (Index i = 0; i < run.tiles; ++i) {
    Tile(w, x, result);
    advance(w, x, result, run, Tokens, panel_channels);
  }
}

template <class Products, int Tokens>
inline constexpr IntegerKernel::Tile row_run = &run_tiles<&row_tile<Products, Tokens>, Tokens>;
template <class Products, int Tokens>
inline constexpr IntegerKernel::Tile group_run = &run_tiles<&group_tile<Products, Tokens>, Tokens>;

/// 12 sums, two vectors of weights and a broadcast are 15 of the 16 registers.
template <class Products>
inline constexpr TileTable<IntegerKernel::Tile> row_tiles{
    {nullptr, nullptr, nullptr, nullptr, row_run<Products, 4>, nullptr, row_run<Products, 6>}};

template <class Products>
inline constexpr TileTable<IntegerKernel::Tile> group_tiles{
    {nullptr, nullptr, nullptr, nullptr, group_run<Products, 4>, nullptr, group_run<Products, 6>}};

}  // namespace pare::kernels::avx2
