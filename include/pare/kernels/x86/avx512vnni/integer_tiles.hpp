#pragma once

#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/x86/avx512vnni/dot.hpp"

/// Tiles of tokens by 32 channels. Each step over four k loads two vectors of weights and
/// broadcasts four codes per token: two dot products for every broadcast, so that arithmetic, not
/// loading, is the limit.
namespace pare::kernels::avx512vnni {

/// A dot product with ones; at most 16 tokens.
PARE_TARGET_AVX512VNNI inline void sum_quads(const std::int8_t* codes, Index quads, Index tokens,
                                             std::int32_t* sums) noexcept {
  const __mmask16 lanes = static_cast<__mmask16>((1u << tokens) - 1u);
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sum = _mm512_setzero_si512();
  for (; quads > 0; --quads, codes += 4 * tokens)
    sum = dot(sum, ones, _mm512_maskz_loadu_epi32(lanes, codes));
  _mm512_mask_storeu_epi32(sums, lanes, sum);
}

/// Where a tile reads.
struct Streams {
  const std::uint8_t *first, *second;
  const std::int8_t* codes;
  const char* ahead;
};

template <int Tokens, int Quads>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void add_some_quads(Streams& in, Index ahead_step,
                                                             __m512i (&sums)[Tokens][2]) noexcept {
  PARE_UNROLL
  for (int q = 0; q < Quads; ++q) {
    const __m512i w0 = _mm512_loadu_si512(in.first + 64 * q);
    const __m512i w1 = _mm512_loadu_si512(in.second + 64 * q);
    _mm_prefetch(in.ahead, _MM_HINT_T0);
    in.ahead += ahead_step;
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      const __m512i x = broadcast4(in.codes + 4 * (q * Tokens + t));
      sums[t][0] = dot(sums[t][0], w0, x);
      sums[t][1] = dot(sums[t][1], w1, x);
    }
  }
  in.first += 64 * Quads;
  in.second += 64 * Quads;
  in.codes += 4 * Tokens * Quads;
}

/// `Step` quads at a time: two, as many as units have at least, or four.
template <int Step, int Tokens>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void add_quads(Streams& in, Index quads, Index ahead_step,
                                                        __m512i (&sums)[Tokens][2]) noexcept {
  for (; quads >= Step; quads -= Step) add_some_quads<Tokens, Step>(in, ahead_step, sums);
  if (quads > 0) add_some_quads<Tokens, 2>(in, ahead_step, sums);
}

template <int Tokens>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void start_sums(const std::int32_t* offsets,
                                                         const std::int32_t* zero_points,
                                                         __m512i (&sums)[Tokens][2]) noexcept {
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) sums[t][0] = sums[t][1] = _mm512_set1_epi32(offsets[t]);
  if (zero_points) {
    const __m512i z0 = _mm512_loadu_si512(zero_points), z1 = _mm512_loadu_si512(zero_points + 16);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      sums[t][0] = _mm512_mullo_epi32(sums[t][0], z0);
      sums[t][1] = _mm512_mullo_epi32(sums[t][1], z1);
    }
  }
}

template <int Tokens>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void store_result(const __m512 (&sums)[Tokens][2],
                                                           const IntegerTokens& x,
                                                           const IntegerResult& result) noexcept {
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) {
    const int t = i / 2, half = i % 2;
    float* y = result.y + t * result.y_stride + 16 * half;
    __m512 value = _mm512_fmadd_ps(sums[t][half], _mm512_set1_ps(x.scales[t]),
                                   _mm512_loadu_ps(result.bias + 16 * half));
    if (result.accumulate) value = _mm512_add_ps(value, _mm512_loadu_ps(y));
    _mm512_storeu_ps(y, value);
  }
}

/// One segment: 32-bit sums over all columns.
template <int Tokens>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void row_tile(const IntegerWeights& w,
                                                       const IntegerTokens& x,
                                                       const IntegerResult& result) noexcept {
  assert_row_tile(w, x, result, Tokens, 2 * panel_channels);
  __m512i sums[Tokens][2];
  if (result.first) {
    start_sums(x.offsets, w.zero_points, sums);
  } else {
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      sums[i / 2][i % 2] = _mm512_loadu_si512(result.partial + 16 * i);
  }
  Streams in{w.codes, w.codes + w.panel_bytes, x.codes, w.ahead};
  add_quads<2>(in, w.segments[0].units * w.unit_quads, w.ahead_step_bytes, sums);
  if (!result.last) {
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      _mm512_storeu_si512(result.partial + 16 * i, sums[i / 2][i % 2]);
    return;
  }
  __m512 scaled[Tokens][2];
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    scaled[i / 2][i % 2] = _mm512_fmadd_ps(
        _mm512_maskz_cvtepi32_ps(avx512::all, sums[i / 2][i % 2]),
        _mm512_loadu_ps(w.scales + i % 2 * 16), _mm512_loadu_ps(result.start + i % 2 * 16));
  store_result(scaled, x, result);
}

template <int Tokens>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void group_tile(const IntegerWeights& w,
                                                         const IntegerTokens& x,
                                                         const IntegerResult& result) noexcept {
  assert_group_tile(w, x, result, Tokens, 2 * panel_channels);
  __m512 scaled[Tokens][2];
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    scaled[i / 2][i % 2] =
        _mm512_loadu_ps(result.first ? result.start + i % 2 * 16 : result.partial + 16 * i);
  Streams in{w.codes, w.codes + w.panel_bytes, x.codes, w.ahead};
  const float* scales = w.scales;
  for (Index s = 0; s < w.segment_count; ++s, scales += 32) {
    __m512i sums[Tokens][2];
    start_sums(x.offsets + s * Tokens, w.zero_points ? w.zero_points + 32 * s : nullptr, sums);
    // So few rounds that their end is predicted.
    add_quads<4>(in, w.segments[s].units * w.unit_quads, w.ahead_step_bytes, sums);
    const __m512 s0 = _mm512_loadu_ps(scales), s1 = _mm512_loadu_ps(scales + 16);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      __m512 low = _mm512_maskz_cvtepi32_ps(avx512::all, sums[t][0]);
      __m512 high = _mm512_maskz_cvtepi32_ps(avx512::all, sums[t][1]);
      if (x.segment_scales) {
        const __m512 scale = _mm512_set1_ps(x.segment_scales[s * Tokens + t]);
        low = _mm512_mul_ps(low, scale);
        high = _mm512_mul_ps(high, scale);
      }
      scaled[t][0] = _mm512_fmadd_ps(low, s0, scaled[t][0]);
      scaled[t][1] = _mm512_fmadd_ps(high, s1, scaled[t][1]);
    }
  }
  if (result.last) return store_result(scaled, x, result);
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    _mm512_storeu_ps(result.partial + 16 * i, scaled[i / 2][i % 2]);
}

/// kernels::run_tiles for this target: only so can the tile be inlined.
template <auto Tile, int Tokens>
PARE_TARGET_AVX512VNNI void run_tiles(const IntegerWeights& weights, const IntegerTokens& tokens,
                                      const IntegerResult& results, const TileRun& run) noexcept {
  IntegerWeights w = weights;
  IntegerTokens x = tokens;
  IntegerResult result = results;
  for (Index i = 0; i < run.tiles; ++i) {
    Tile(w, x, result);
    advance(w, x, result, run, Tokens, 2 * panel_channels);
  }
}

template <int Tokens>
inline constexpr IntegerKernel::Tile row_run = &run_tiles<&row_tile<Tokens>, Tokens>;
template <int Tokens>
inline constexpr IntegerKernel::Tile group_run = &run_tiles<&group_tile<Tokens>, Tokens>;

/// 24 sums cover the latency of two dot products per cycle and need least of the caches.
inline constexpr TileTable<IntegerKernel::Tile> row_tiles{
    {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, row_run<6>, nullptr, row_run<8>, nullptr,
     row_run<10>, nullptr, row_run<12>}};

/// 14 sums of integers and as many of floats leave four registers for operands.
inline constexpr TileTable<IntegerKernel::Tile> group_tiles{
    {nullptr, nullptr, nullptr, nullptr, group_run<4>, group_run<5>, group_run<6>, group_run<7>}};

}  // namespace pare::kernels::avx512vnni
