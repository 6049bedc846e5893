#pragma once

#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/x86/amx/tile.hpp"
#include "pare/kernels/x86/avx512/panel.hpp"

/// Tiles of 16 or 32 tokens by 32 channels: eight times the arithmetic of VNNI. What is done with
/// each group's sums then takes as long as the products, and runs beside those of the next group.
namespace pare::kernels::amx {

/// Activation codes are signed, weights are where they are decoded.
template <bool SignedWeights>
inline constexpr Product product =
    SignedWeights ? Product::signed_by_signed : Product::signed_by_unsigned;

template <bool SignedWeights, int Halves>
PARE_TARGET_AMX PARE_FORCE_INLINE Steps<product<SignedWeights>, Halves> steps_of(
    const IntegerWeights& w, const IntegerTokens& x) noexcept {
  return {x.codes,      w.codes, w.codes + w.panel_bytes,          row_bytes,
          x.step_quads, w.ahead, w.ahead_step_bytes * x.step_quads};
}

/// What the sum of a token and sixteen channels counts from; zero with signed weights.
template <bool SignedWeights>
PARE_TARGET_AMX PARE_FORCE_INLINE __m512i with_offset(__m512i sum, std::int32_t offset,
                                                      const std::int32_t* zero_points) noexcept {
  if constexpr (SignedWeights) return sum;
  __m512i start = _mm512_set1_epi32(offset);
  if (zero_points) start = _mm512_mullo_epi32(start, _mm512_loadu_si512(zero_points));
  return _mm512_add_epi32(sum, start);
}

/// y of sixteen channels.
PARE_TARGET_AMX PARE_FORCE_INLINE void store_result(__m512 sum, Index t, int half,
                                                    const IntegerTokens& x,
                                                    const IntegerResult& result) noexcept {
  float* y = result.y + t * result.y_stride + half * panel_channels;
  __m512 value = _mm512_fmadd_ps(sum, _mm512_set1_ps(x.scales[t]),
                                 _mm512_loadu_ps(result.bias + half * panel_channels));
  if (result.accumulate) value = _mm512_add_ps(value, _mm512_loadu_ps(y));
  _mm512_storeu_ps(y, value);
}

/// One segment: 32-bit sums over all columns.
template <bool SignedWeights, int Halves>
PARE_TARGET_AMX PARE_FORCE_INLINE void row_tile(const IntegerWeights& w, const IntegerTokens& x,
                                                const IntegerResult& result) noexcept {
  assert_row_tile(w, x, result, Halves * tile_rows, two_tiles);
  PARE_ASSERT(x.step_quads > 0);
  if (result.first)
    zero_sums<Halves>();
  else
    load_sums<Halves>(result.partial);
  steps_of<SignedWeights, Halves>(w, x).add(w.segments[0].units * w.unit_quads);
  if (!result.last) return store_sums<Halves>(result.partial);
  alignas(64) std::int32_t sums[Halves * tile_rows * two_tiles];
  store_sums<Halves>(sums);
  const __m512 s0 = _mm512_loadu_ps(w.scales), s1 = _mm512_loadu_ps(w.scales + panel_channels);
  const __m512 c0 = _mm512_loadu_ps(result.start);
  const __m512 c1 = _mm512_loadu_ps(result.start + panel_channels);
  for (Index t = 0; t < Halves * tile_rows; ++t) {
    PARE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const __m512i sum = with_offset<SignedWeights>(
          _mm512_loadu_si512(sums + two_tiles * t + half * panel_channels), x.offsets[t],
          w.zero_points ? w.zero_points + half * panel_channels : nullptr);
      store_result(_mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(avx512::all, sum), half ? s1 : s0,
                                   half ? c1 : c0),
                   t, half, x, result);
    }
  }
}

/// Adds the scaled sums of a segment to those of the segments before.
template <bool SignedWeights, int Halves>
class ScaleSums {
 public:
  PARE_TARGET_AMX PARE_FORCE_INLINE ScaleSums(const IntegerWeights& w, const IntegerTokens& x,
                                              const IntegerResult& result, Index segment,
                                              const std::int32_t* sums) noexcept
      : sums_(sums),
        offsets_(x.offsets + segment * tokens),
        zero_points_(w.zero_points ? w.zero_points + two_tiles * segment : nullptr),
        scales_(w.scales + two_tiles * segment),
        segment_scales_(x.segment_scales ? x.segment_scales + segment * tokens : nullptr),
        scaled_(result.partial) {}

  /// For one part of the tokens: as many parts as products in a step, which have time for it.
  PARE_TARGET_AMX PARE_FORCE_INLINE void operator()(int part) const noexcept {
    constexpr int count = static_cast<int>(tile_rows) / 2;
    const __m512 s[2] = {_mm512_loadu_ps(scales_), _mm512_loadu_ps(scales_ + panel_channels)};
    PARE_UNROLL
    for (int i = 0; i < count; ++i) {
      const Index t = part * count + i;
      PARE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const Index at = two_tiles * t + half * panel_channels;
        __m512 value = _mm512_maskz_cvtepi32_ps(
            avx512::all, with_offset<SignedWeights>(
                             _mm512_loadu_si512(sums_ + at), offsets_[t],
                             zero_points_ ? zero_points_ + half * panel_channels : nullptr));
        if (segment_scales_) value = _mm512_mul_ps(value, _mm512_set1_ps(segment_scales_[t]));
        _mm512_storeu_ps(scaled_ + at,
                         _mm512_fmadd_ps(value, s[half], _mm512_loadu_ps(scaled_ + at)));
      }
    }
  }
  PARE_TARGET_AMX PARE_FORCE_INLINE void all() const noexcept {
    for (int part = 0; part < 2 * Halves; ++part) (*this)(part);
  }

 private:
  static constexpr Index tokens = Halves * tile_rows;

  const std::int32_t* sums_;  ///< [token][32]
  const std::int32_t* offsets_;
  const std::int32_t* zero_points_;  ///< [32], or null
  const float* scales_;              ///< [32]
  const float* segment_scales_;      ///< [token], or null
  float* scaled_;                    ///< [token][32]
};

template <bool SignedWeights, int Halves>
PARE_TARGET_AMX PARE_FORCE_INLINE void group_tile(const IntegerWeights& w, const IntegerTokens& x,
                                                  const IntegerResult& result) noexcept {
  assert_group_tile(w, x, result, Halves * tile_rows, two_tiles);
  PARE_ASSERT(result.partial && x.step_quads > 0);
  constexpr Index tokens = Halves * tile_rows;
  alignas(64) std::int32_t sums[2][tokens * two_tiles];
  if (result.first) {
    const __m512 c0 = _mm512_loadu_ps(result.start);
    const __m512 c1 = _mm512_loadu_ps(result.start + panel_channels);
    for (Index t = 0; t < tokens; ++t) {
      _mm512_storeu_ps(result.partial + two_tiles * t, c0);
      _mm512_storeu_ps(result.partial + two_tiles * t + panel_channels, c1);
    }
  }
  auto steps = steps_of<SignedWeights, Halves>(w, x);
  zero_sums<Halves>();
  steps.add(w.segments[0].units * w.unit_quads);
  store_sums<Halves>(sums[0]);
  for (Index s = 1; s < w.segment_count; ++s) {
    zero_sums<Halves>();
    steps.add(w.segments[s].units * w.unit_quads,
              ScaleSums<SignedWeights, Halves>(w, x, result, s - 1, sums[(s - 1) % 2]));
    store_sums<Halves>(sums[s % 2]);
  }
  const Index last = w.segment_count - 1;
  ScaleSums<SignedWeights, Halves>(w, x, result, last, sums[last % 2]).all();
  if (!result.last) return;
  for (Index t = 0; t < tokens; ++t) {
    PARE_UNROLL
    for (int half = 0; half < 2; ++half)
      store_result(_mm512_loadu_ps(result.partial + two_tiles * t + half * panel_channels), t, half,
                   x, result);
  }
}

template <auto Tile, int Halves>
PARE_TARGET_AMX void run_tiles(const IntegerWeights& weights, const IntegerTokens& tokens,
                               const IntegerResult& results, const TileRun& run) noexcept {
  IntegerWeights w = weights;
  IntegerTokens x = tokens;
  IntegerResult result = results;
  const Tiles tiles(x.step_quads);
  for (Index i = 0; i < run.tiles; ++i) {
    Tile(w, x, result);
    advance(w, x, result, run, Halves * tile_rows, 2 * panel_channels);
  }
}

template <bool SignedWeights, int Halves>
inline constexpr IntegerKernel::Tile row_run = &run_tiles<&row_tile<SignedWeights, Halves>, Halves>;
template <bool SignedWeights, int Halves>
inline constexpr IntegerKernel::Tile group_run =
    &run_tiles<&group_tile<SignedWeights, Halves>, Halves>;

template <bool SignedWeights>
inline constexpr TileTable<IntegerKernel::Tile> row_tiles = tiles_of(row_run<SignedWeights, 1>,
                                                                     row_run<SignedWeights, 2>);
template <bool SignedWeights>
inline constexpr TileTable<IntegerKernel::Tile> group_tiles = tiles_of(group_run<SignedWeights, 1>,
                                                                       group_run<SignedWeights, 2>);

}  // namespace pare::kernels::amx
