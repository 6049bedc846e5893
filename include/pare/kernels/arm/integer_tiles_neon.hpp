#pragma once

#include "pare/core/config.hpp"
#if PARE_NEON_KERNELS

#include <arm_neon.h>

#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/contract/tile_run.hpp"

/// Tiles of tokens by 16 channels: sdot down the lanes of four registers.
namespace pare::kernels::neon {

/// Four codes of a token in every lane.
PARE_FORCE_INLINE int8x16_t broadcast4(const std::int8_t* codes) noexcept {
  return vreinterpretq_s8_s32(vld1q_dup_s32(reinterpret_cast<const std::int32_t*>(codes)));
}

/// A dot product with ones.
inline void sum_quads(const std::int8_t* codes, Index quads, Index tokens,
                      std::int32_t* sums) noexcept {
  for (Index t = 0; t < tokens; ++t) {
    int32x4_t sum = vdupq_n_s32(0);
    for (Index q = 0; q < quads; ++q)
      sum = vdotq_s32(sum, vdupq_n_s8(1), broadcast4(codes + 4 * (q * tokens + t)));
    sums[t] = vgetq_lane_s32(sum, 0);
  }
}

template <int Tokens>
PARE_FORCE_INLINE void start_sums(const std::int32_t* offsets, const std::int32_t* zero_points,
                                  int32x4_t (&sums)[Tokens][4]) noexcept {
  PARE_UNROLL
  for (int i = 0; i < 4 * Tokens; ++i) {
    const int32x4_t offset = vdupq_n_s32(offsets[i / 4]);
    sums[i / 4][i % 4] =
        zero_points ? vmulq_s32(offset, vld1q_s32(zero_points + i % 4 * 4)) : offset;
  }
}

template <int Tokens>
PARE_FORCE_INLINE void add_quads(const std::uint8_t*& weights, const std::int8_t*& codes,
                                 Index quads, int32x4_t (&sums)[Tokens][4]) noexcept {
  for (; quads > 0; --quads, weights += 64, codes += 4 * Tokens) {
    int8x16_t w[4];
    PARE_UNROLL
    for (int i = 0; i < 4; ++i) w[i] = vreinterpretq_s8_u8(vld1q_u8(weights + 16 * i));
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      const int8x16_t x = broadcast4(codes + 4 * t);
      PARE_UNROLL
      for (int i = 0; i < 4; ++i) sums[t][i] = vdotq_s32(sums[t][i], w[i], x);
    }
  }
}

PARE_FORCE_INLINE void store_result(float32x4_t sum, int token, int quarter, const IntegerTokens& x,
                                    const IntegerResult& result) noexcept {
  float* y = result.y + token * result.y_stride + 4 * quarter;
  float32x4_t value =
      vfmaq_f32(vld1q_f32(result.bias + 4 * quarter), sum, vdupq_n_f32(x.scales[token]));
  if (result.accumulate) value = vaddq_f32(value, vld1q_f32(y));
  vst1q_f32(y, value);
}

/// One segment: 32-bit sums over all columns.
template <int Tokens>
void row_tile(const IntegerWeights& w, const IntegerTokens& x,
              const IntegerResult& result) noexcept {
  assert_row_tile(w, x, result, Tokens, panel_channels);
  int32x4_t sums[Tokens][4];
  if (result.first) {
    start_sums(x.offsets, w.zero_points, sums);
  } else {
    PARE_UNROLL
    for (int i = 0; i < 4 * Tokens; ++i)
      sums[i / 4][i % 4] = vreinterpretq_s32_f32(vld1q_f32(result.partial + 4 * i));
  }
  const std::uint8_t* weights = w.codes;
  const std::int8_t* codes = x.codes;
  add_quads(weights, codes, w.segments[0].units * w.unit_quads, sums);
  PARE_UNROLL
  for (int i = 0; i < 4 * Tokens; ++i) {
    const int t = i / 4, quarter = i % 4;
    if (result.last)
      store_result(vfmaq_f32(vld1q_f32(result.start + 4 * quarter), vcvtq_f32_s32(sums[t][quarter]),
                             vld1q_f32(w.scales + 4 * quarter)),
                   t, quarter, x, result);
    else
      vst1q_f32(result.partial + 4 * i, vreinterpretq_f32_s32(sums[t][quarter]));
  }
}

/// Registers hold the integer sums of a segment only: scaled ones stay in `partial`.
template <int Tokens>
void group_tile(const IntegerWeights& w, const IntegerTokens& x,
                const IntegerResult& result) noexcept {
  assert_group_tile(w, x, result, Tokens, panel_channels);
  PARE_ASSERT(result.partial);
  float* scaled = result.partial;
  if (result.first)
    for (int i = 0; i < 4 * Tokens; ++i)
      vst1q_f32(scaled + 4 * i, vld1q_f32(result.start + i % 4 * 4));
  const std::uint8_t* weights = w.codes;
  const std::int8_t* codes = x.codes;
  const float* scales = w.scales;
  for (Index s = 0; s < w.segment_count; ++s, scales += panel_channels) {
    int32x4_t sums[Tokens][4];
    start_sums(x.offsets + s * Tokens, w.zero_points ? w.zero_points + panel_channels * s : nullptr,
               sums);
    add_quads(weights, codes, w.segments[s].units * w.unit_quads, sums);
    PARE_UNROLL
    for (int i = 0; i < 4 * Tokens; ++i) {
      float32x4_t value = vcvtq_f32_s32(sums[i / 4][i % 4]);
      if (x.segment_scales) value = vmulq_n_f32(value, x.segment_scales[s * Tokens + i / 4]);
      vst1q_f32(scaled + 4 * i,
                vfmaq_f32(vld1q_f32(scaled + 4 * i), value, vld1q_f32(scales + i % 4 * 4)));
    }
  }
  if (!result.last) return;
  for (int i = 0; i < 4 * Tokens; ++i)
    store_result(vld1q_f32(scaled + 4 * i), i / 4, i % 4, x, result);
}

/// 24 sums, four registers of weights and a broadcast are 29 of the 32.
inline constexpr TileTable<IntegerKernel::Tile> row_tiles{
    {nullptr, nullptr, nullptr, &run_tiles<&row_tile<3>, 3>, &run_tiles<&row_tile<4>, 4>,
     &run_tiles<&row_tile<5>, 5>, &run_tiles<&row_tile<6>, 6>}};
inline constexpr TileTable<IntegerKernel::Tile> group_tiles{
    {nullptr, nullptr, nullptr, &run_tiles<&group_tile<3>, 3>, &run_tiles<&group_tile<4>, 4>,
     &run_tiles<&group_tile<5>, 5>, &run_tiles<&group_tile<6>, 6>}};

}  // namespace pare::kernels::neon

#endif
