#pragma once

#include "pare/core/config.hpp"
#if PARE_NEON_KERNELS

#include <cstring>

#include "pare/kernels/arm/integer_tiles_neon.hpp"

/// Packed codes of any format to signed operands of sdot: in registers for few tokens, into memory
/// for many. `quarter` of a panel: four channels.
namespace pare::kernels::neon {

/// The codes of k = 4 quad .. 4 quad + 3 of a quarter of a unit's channels, from plane P on.
template <class Codes, std::size_t P = 0>
PARE_FORCE_INLINE uint8x16_t codes_at(const std::uint32_t* unit, int quad, int quarter) noexcept {
  constexpr int width = Codes::planes[P].width, low_bit = Codes::planes[P].low_bit;
  constexpr int per_vector = 8 / width;
  const int shift = quad % per_vector * width - low_bit;
  const std::uint32_t* words =
      unit + (Codes::first_vector(P) + quad / per_vector) * panel_channels + 4 * quarter;
  uint8x16_t bits = vreinterpretq_u8_u32(vld1q_u32(words));
  if (shift != 0) bits = vshlq_u8(bits, vdupq_n_s8(static_cast<std::int8_t>(-shift)));
  if constexpr (width < 8)
    bits = vandq_u8(bits, vdupq_n_u8(static_cast<std::uint8_t>(((1 << width) - 1) << low_bit)));
  if constexpr (P + 1 < Codes::planes.size())
    bits = vorrq_u8(bits, codes_at<Codes, P + 1>(unit, quad, quarter));
  return bits;
}

template <class Codes>
PARE_FORCE_INLINE uint8x16_t operand(const std::uint32_t* unit, int quad, int quarter,
                                     uint8x16_t codebook) noexcept {
  const uint8x16_t codes = codes_at<Codes>(unit, quad, quarter);
  return Codes::lookup ? vqtbl1q_u8(codebook, codes) : codes;
}

template <class Codes>
PARE_FORCE_INLINE uint8x16_t load_codebook(const PackedPanel& w) noexcept {
  return Codes::lookup ? vld1q_u8(w.operands) : vdupq_n_u8(0);
}

PARE_FORCE_INLINE float32x4_t load_scales(const PackedPanel& w, Index group, int quarter) noexcept {
  const std::byte* p = w.scales + (group * panel_channels + 4 * quarter) * bits(w.scale_type) / 8;
  if (w.scale_type == ScaleType::f32) return vld1q_f32(reinterpret_cast<const float*>(p));
  const uint16x4_t halves = vld1_u16(reinterpret_cast<const std::uint16_t*>(p));
  if (w.scale_type == ScaleType::f16) return vcvt_f32_f16(vreinterpret_f16_u16(halves));
  return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}

/// As stored.
PARE_FORCE_INLINE uint32x4_t load_zero_points(const PackedPanel& w, Index group,
                                              int quarter) noexcept {
  std::uint32_t four;
  std::memcpy(&four, w.zero_points + group * panel_channels + 4 * quarter, sizeof(four));
  return vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four))));
}

/// zero_point - 128: counted like the operands.
PARE_FORCE_INLINE int32x4_t signed_zero_points(const PackedPanel& w, Index group,
                                               int quarter) noexcept {
  return vsubq_s32(vreinterpretq_s32_u32(load_zero_points(w, group, quarter)), vdupq_n_s32(128));
}

template <class Codes, int Tokens>
void few(const PackedPanel* panel, const Segment* segments, Index segment_count,
         const IntegerTokens& x, const IntegerResult& result) noexcept {
  const PackedPanel& w = *panel;
  constexpr int quads = static_cast<int>(Codes::unit) / 4;
  const uint8x16_t codebook = load_codebook<Codes>(w);
  float32x4_t scaled[Tokens][4];
  PARE_UNROLL
  for (int i = 0; i < 4 * Tokens; ++i) scaled[i / 4][i % 4] = vld1q_f32(result.start + i % 4 * 4);
  const std::uint32_t* unit = w.codes;
  const std::int8_t* codes = x.codes;
  for (Index s = 0; s < segment_count; ++s) {
    const Index group = segments[s].weight_group;
    int32x4_t sums[Tokens][4];
    PARE_UNROLL
    for (int i = 0; i < 4 * Tokens; ++i) {
      int32x4_t& sum = sums[i / 4][i % 4];
      sum = vdupq_n_s32(x.offsets[s * Tokens + i / 4]);
      if (w.zero_points) sum = vmulq_s32(sum, signed_zero_points(w, group, i % 4));
    }
    for (Index u = segments[s].units; u > 0; --u, unit += Codes::unit_words) {
      PARE_UNROLL
      for (int q = 0; q < quads; ++q, codes += 4 * Tokens) {
        PARE_UNROLL
        for (int quarter = 0; quarter < 4; ++quarter) {
          // The bytes minus 128.
          const int8x16_t weights = vreinterpretq_s8_u8(
              veorq_u8(operand<Codes>(unit, q, quarter, codebook), vdupq_n_u8(128)));
          PARE_UNROLL
          for (int t = 0; t < Tokens; ++t)
            sums[t][quarter] = vdotq_s32(sums[t][quarter], weights, broadcast4(codes + 4 * t));
        }
      }
    }
    PARE_UNROLL
    for (int i = 0; i < 4 * Tokens; ++i) {
      float32x4_t value = vcvtq_f32_s32(sums[i / 4][i % 4]);
      if (x.segment_scales) value = vmulq_n_f32(value, x.segment_scales[s * Tokens + i / 4]);
      scaled[i / 4][i % 4] = vfmaq_f32(scaled[i / 4][i % 4], value, load_scales(w, group, i % 4));
    }
  }
  PARE_UNROLL
  for (int i = 0; i < 4 * Tokens; ++i) store_result(scaled[i / 4][i % 4], i / 4, i % 4, x, result);
}

template <class Codes>
inline constexpr TileWeights tile_weights{Operand::s8, 1, false, Codes::bits == 8};

template <class Codes>
void decode(const PackedPanel& w, const Segment* segments, Index segment_count, std::uint8_t* codes,
            float* scales, std::int32_t* zero_points) noexcept {
  constexpr int quads = static_cast<int>(Codes::unit) / 4;
  const uint8x16_t codebook = load_codebook<Codes>(w);
  for (Index s = 0; s < segment_count; ++s, scales += panel_channels) {
    const Segment& segment = segments[s];
    uint8x16_t origin[4];
    PARE_UNROLL
    for (int i = 0; i < 4; ++i) {
      vst1q_f32(scales + 4 * i, load_scales(w, segment.weight_group, i));
      uint32x4_t from = vdupq_n_u32(Codes::lookup ? 128u : static_cast<std::uint32_t>(w.center));
      if (w.zero_points) {
        if constexpr (tile_weights<Codes>.zero_points_apart) {
          vst1q_s32(zero_points + panel_channels * s + 4 * i,
                    signed_zero_points(w, segment.weight_group, i));
          from = vdupq_n_u32(128);
        } else {
          from = load_zero_points(w, segment.weight_group, i);
        }
      }
      origin[i] = vreinterpretq_u8_u32(vmulq_n_u32(from, 0x01010101u));
    }
    const std::uint32_t* unit = w.codes + segment.first_unit * Codes::unit_words;
    for (Index u = 0; u < segment.units; ++u, unit += Codes::unit_words, codes += 64 * quads) {
      PARE_UNROLL
      for (int i = 0; i < 4 * quads; ++i)
        vst1q_u8(codes + 16 * i,
                 vsubq_u8(operand<Codes>(unit, i / 4, i % 4, codebook), origin[i % 4]));
    }
  }
}

template <class Codes>
inline constexpr IntegerKernel integer_kernel{
    KernelName::neon,
    &sum_quads,
    {{nullptr, &few<Codes, 1>, &few<Codes, 2>, &few<Codes, 3>, &few<Codes, 4>}},
    row_tiles,
    group_tiles,
    &decode<Codes>,
    tile_weights<Codes>};

}  // namespace pare::kernels::neon

#endif
