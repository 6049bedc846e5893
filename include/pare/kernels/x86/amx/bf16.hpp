#pragma once

#include "pare/kernels/contract/bf16.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/x86/amx/tile.hpp"
#include "pare/kernels/x86/avx512bf16/bf16.hpp"

/// Tiles of 16 or 32 tokens by 32 channels: sixteen times the arithmetic of float32.
namespace pare::kernels::amx {

/// Adds the scaled sums of a group to those of the groups before.
class ScaleGroup {
 public:
  PARE_TARGET_AMX PARE_FORCE_INLINE ScaleGroup(const float* sums, const float* scales,
                                               float* scaled) noexcept
      : sums_(sums), scales_(scales), scaled_(scaled) {}

  /// For one part of the tokens: as many parts as products in a step, which have time for it.
  PARE_TARGET_AMX PARE_FORCE_INLINE void operator()(int part) const noexcept {
    constexpr Index count = tile_rows / 2;
    const __m512 s0 = _mm512_loadu_ps(scales_), s1 = _mm512_loadu_ps(scales_ + panel_channels);
    PARE_UNROLL
    for (Index i = 0; i < count; ++i) {
      const Index low = two_tiles * (part * count + i), high = low + panel_channels;
      _mm512_storeu_ps(scaled_ + low, _mm512_fmadd_ps(_mm512_loadu_ps(sums_ + low), s0,
                                                      _mm512_loadu_ps(scaled_ + low)));
      _mm512_storeu_ps(scaled_ + high, _mm512_fmadd_ps(_mm512_loadu_ps(sums_ + high), s1,
                                                       _mm512_loadu_ps(scaled_ + high)));
    }
  }

 private:
  const float* sums_;    ///< [token][32]
  const float* scales_;  ///< [32]
  float* scaled_;        ///< [token][32]
};

template <int Halves>
PARE_TARGET_AMX void bf16_tile(const float* x, const Bf16Weights& w,
                               const FloatResult& result) noexcept {
  constexpr Index tokens = Halves * tile_rows;
  assert_float_tile(x, w.values, result, tokens, two_tiles);
  alignas(64) float sums[2][tokens * two_tiles];
  alignas(64) float scaled[tokens * two_tiles];
  for (Index i = 0; i < tokens * two_tiles; i += panel_channels)
    _mm512_store_ps(scaled + i, _mm512_setzero_ps());
  if (w.quads > 0) {
    const Index step_rows = step_pairs(w.group_quads);
    const Tiles tiles(step_rows);
    Steps<Product::bf16, Halves> steps(x, w.values, w.values + panel_channels, 2 * row_bytes,
                                       step_rows);
    steps.add(2 * (w.quads < w.group_quads ? w.quads : w.group_quads));
    store_sums<Halves>(sums[0]);
    const float* scales = w.scales;
    int at = 0;
    for (Index left = w.quads - w.group_quads; left > 0; left -= w.group_quads) {
      zero_sums<Halves>();
      steps.add(2 * (left < w.group_quads ? left : w.group_quads),
                ScaleGroup(sums[at], scales, scaled));
      at ^= 1;
      scales += two_tiles;
      store_sums<Halves>(sums[at]);
    }
    const ScaleGroup last(sums[at], scales, scaled);
    for (int part = 0; part < 2 * Halves; ++part) last(part);
  }
  for (Index t = 0; t < tokens; ++t) {
    PARE_UNROLL
    for (Index channel = 0; channel < two_tiles; channel += panel_channels)
      avx512::store_sum(_mm512_load_ps(scaled + two_tiles * t + channel), channel,
                        result.y + t * result.y_stride, result);
  }
}

/// AVX-512 BF16's kernel with other tiles: few tokens are no work for these.
template <class Codes>
inline constexpr Bf16Kernel bf16_kernel = [] {
  Bf16Kernel kernel = avx512bf16::bf16_kernel<Codes>;
  kernel.name = KernelName::amx;
  kernel.tiles = tiles_of<Bf16Kernel::Tile>(&bf16_tile<1>, &bf16_tile<2>);
  kernel.token_rows = true;
  return kernel;
}();

}  // namespace pare::kernels::amx
