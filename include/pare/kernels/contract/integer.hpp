#pragma once

#include <cstdint>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/tile_table.hpp"
#include "pare/kernels/kernel_name.hpp"
#include "pare/kernels/layout/packed_layout.hpp"

/// What an implementation of the integer matmul supplies: plain functions, noexcept and free of
/// allocation. The driver (matmul/integer.hpp) owns loops and memory.
namespace pare::kernels {

/// Columns whose products one 32-bit sum collects: a group of the weights, cut where the
/// activations' group ends and where the sum would grow too long.
struct Segment {
  Index first_unit, units;
  Index weight_group, activation_group;
};

/// What a family multiplies: the decoded codes of a panel, and activation codes of as many bytes.
enum class Operand : std::uint8_t {
  u8,        ///< [k/4][16][4], counted from decoded_center
  s8,        ///< [k/4][16][4], counted from 0
  s16,       ///< [k/4][2][16][2], counted from 0: the even k of four, then the odd ones
  u8_by_s8,  ///< s8 of sparse weights; activation codes are the unsigned ones, code + 128
};

[[nodiscard]] constexpr Index operand_bytes(Operand operand) noexcept {
  return operand == Operand::s16 ? 2 : 1;
}

/// The activations of a tile of t tokens, arranged.
struct IntegerTokens {
  /// [k/4][t][4], zero in the padding of groups; with s16 four words, k in the order 0 2 1 3.
  /// With TileWeights::token_rows [steps][t][4 step_quads], zero after the end of a segment.
  const std::int8_t* codes;
  const std::int32_t* offsets;  ///< [segment][t]: what the sums start at; see offset_factor
  const float* segment_scales;  ///< [segment][t] scales per group of activations, or null
  const float* scales;          ///< [t], what the result is multiplied with
  Index step_quads;             ///< with token_rows k/4 per step, else 0
};

/// Decoded weights of one or two panels: what tiles read.
struct IntegerWeights {
  const std::uint8_t* codes;        ///< of the first panel: see Operand
  Index panel_bytes;                ///< from there to the second panel's
  const float* scales;              ///< [segment][panels][16]
  const std::int32_t* zero_points;  ///< [segment][panels][16], or null
  const Segment* segments;
  Index segment_count;
  Index unit_quads;  ///< k/4 per unit
  /// What far memory is asked for meanwhile: an address per k/4, this many bytes apart.
  const char* ahead;
  Index ahead_step_bytes;
};

/// Where a tile's result goes: y = (start + sum) * scale + bias, added to y or not.
struct IntegerResult {
  float* y;
  Index y_stride;
  const float* start;  ///< one per channel of the tile
  const float* bias;   ///< likewise
  bool accumulate;
  /// Sums of a part of the columns, a float (a 32-bit integer with one segment) per token and
  /// channel of the tile: where to go on from unless `first`, and where to unless `last`.
  float* partial;
  bool first, last;
};

/// Tiles of as many tokens each that follow each other: what lies between one and the next.
struct TileRun {
  Index tiles = 1;
  Index codes_bytes = 0;
  Index sums = 0;  ///< of offsets and segment scales
  Index ahead_bytes = 0;
};

/// Goes on to the next tile of a run.
PARE_FORCE_INLINE void advance(IntegerWeights& w, IntegerTokens& x, IntegerResult& result,
                               const TileRun& run, Index tokens, Index channels) noexcept {
  w.ahead += run.ahead_bytes;
  x.codes += run.codes_bytes;
  x.offsets += run.sums;
  if (x.segment_scales) x.segment_scales += run.sums;
  x.scales += tokens;
  result.y += tokens * result.y_stride;
  result.partial += tokens * channels;
}

/// How the tiles of a family read weights.
struct TileWeights {
  Operand operand = Operand::u8;
  Index panels = 2;  ///< side by side in a tile: 1 or 2
  /// Packed codes are operands as they lie.
  bool in_place = false;
  /// Zero points stay out of the codes: sums start at multiples of them.
  bool zero_points_apart = false;
  /// Tiles read each token's codes in rows: see IntegerTokens. Only they may have more than
  /// max_transposed_tokens. Few tokens lie as for u8.
  bool token_rows = false;

  [[nodiscard]] constexpr Index channels() const noexcept { return panels * panel_channels; }
};

struct IntegerKernel {
  /// `few_panels` panels of packed codes that follow each other (or, at the end, the last one
  /// twice), few tokens: codes are decoded in registers.
  using Few = void (*)(const PackedPanel*, const Segment*, Index segment_count,
                       const IntegerTokens&, const IntegerResult&) noexcept;
  /// All panels of a tile, decoded; for the first tile of a run and then the others: a call costs
  /// as much as some dozens of dot products.
  using Tile = void (*)(const IntegerWeights&, const IntegerTokens&, const IntegerResult&,
                        const TileRun&) noexcept;
  /// Codes (unless null), scales and, where they stay apart, zero points of some segments of a
  /// panel. The parameters of consecutive segments are a tile's channels apart.
  using Decode = void (*)(const PackedPanel&, const Segment*, Index segment_count,
                          std::uint8_t* codes, float* scales, std::int32_t* zero_points) noexcept;

  /// sums[t] of the codes in `quads` fours of a tile's.
  using Sum = void (*)(const std::int8_t* codes, Index quads, Index tokens,
                       std::int32_t* sums) noexcept;

  /// The sum of `count` codes that follow each other.
  using RowSum = std::int32_t (*)(const std::int8_t* codes, Index count) noexcept;

  KernelName name;
  Sum sum;
  TileTable<Few> few;
  TileTable<Tile> row;    ///< one segment, exact sums over all columns
  TileTable<Tile> group;  ///< any number of segments
  Decode decode;
  TileWeights weights{};
  Index few_panels = 1;
  RowSum row_sum = nullptr;  ///< with token_rows

  /// What `few` multiplies.
  [[nodiscard]] constexpr Operand few_operand() const noexcept {
    return weights.token_rows ? Operand::u8 : weights.operand;
  }
};

/// What decoded codes count from. Zero points that are subtracted leave unsigned ones above 0.
[[nodiscard]] constexpr int decoded_center(const PackedView& w, Operand operand) noexcept {
  if (operand != Operand::u8) return 0;
  return w.first.zero_points ? 1 << w.code_bits : w.codebook->center;
}

/// The same for codes that are decoded in registers: those of s8 are bytes with a flipped top bit.
[[nodiscard]] constexpr int packed_center(const PackedView& w, Operand operand) noexcept {
  return w.codebook->center - (operand == Operand::s8 ? 128 : 0);
}

/// Longest sum of code * (code - zero_point) that 32 bits hold: 2^31 / (128 * 255).
inline constexpr Index max_row_sum = 65536;
/// Longer groups of several are summed in pieces of this many columns, so that decoded pieces fit
/// a first-level cache.
inline constexpr Index max_segment = 512;

}  // namespace pare::kernels
