#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include "pare/kernels/matmul_blocks.hpp"
#include "pare/kernels/scratch.hpp"
#include "pare/kernels/segments.hpp"
#include "pare/kernels/transpose.hpp"

namespace pare::kernels {

/// What decides how activations are arranged: weights that agree in it share one arrangement.
struct ArrangementShape {
  Index group_length, padded_group, padded_cols, groups;
  Index unit;  ///< of the segments
  const std::int32_t* order;
  Index tile_tokens;           ///< largest tile
  Index tile_step;             ///< what their numbers of tokens are multiples of
  std::int32_t offset_factor;  ///< sums start at this times the sum of the codes
  bool few;                    ///< for kernels that read packed codes
  Operand operand;

  [[nodiscard]] bool same(const ArrangementShape& other, Index cols) const noexcept {
    return group_length == other.group_length && padded_group == other.padded_group &&
           padded_cols == other.padded_cols && unit == other.unit &&
           tile_tokens == other.tile_tokens && tile_step == other.tile_step &&
           offset_factor == other.offset_factor && few == other.few && operand == other.operand &&
           (order == nullptr) == (other.order == nullptr) &&
           (order == other.order || std::equal(order, order + cols, other.order));
  }
};

/// Activation codes as tiles read them, in scratch memory of a call.
class IntegerArrangement {
 public:
  IntegerArrangement(const QuantizedActivationsView& x, const PackedView& w,
                     const ArrangementShape& shape, IntegerKernel::Sum sum, Workspace* workspace)
      : x_(x),
        shape_(shape),
        code_bytes_(operand_bytes(shape.operand)),
        sum_(sum),
        tiles_(x.tokens(), shape.tile_tokens, shape.tile_step) {
    for_each_segment(w, x.group_length(), [&](const Segment&) { ++segment_count_; });
    const Index tokens = tiles_.padded_tokens(), sums = tokens * segment_count_;
    const Index codes = tokens * shape.padded_cols * code_bytes_;
    const bool grouped = x.groups() > 1;
    const Index columns = shape.order ? tokens * column_bytes() : 0;
    const Index padded = tokens > x.tokens() ? shape.tile_tokens * x.cols() : 0;
    scratch_.emplace(
        workspace, Scratch::bytes<Segment>(segment_count_) + Scratch::bytes<std::int8_t>(codes) +
                       Scratch::bytes<std::int32_t>(sums) +
                       Scratch::bytes<float>(grouped ? sums : 0) + Scratch::bytes<float>(tokens) +
                       Scratch::bytes<std::int8_t>(columns) + Scratch::bytes<std::int8_t>(padded));
    segments_ = scratch_->take<Segment>(segment_count_);
    codes_ = scratch_->take<std::int8_t>(codes);
    offsets_ = scratch_->take<std::int32_t>(sums);
    if (grouped) segment_scales_ = scratch_->take<float>(sums);
    scales_ = scratch_->take<float>(tokens);
    columns_ = scratch_->take<std::int8_t>(columns);
    padded_ = scratch_->take<std::int8_t>(padded);
    Segment* next = segments_;
    for_each_segment(w, x.group_length(), [&](const Segment& s) { *next++ = s; });
    unit_ = w.unit;
    for (Index t = 0; t < tokens; ++t)
      scales_[t] = (grouped ? 1.0f : x.scale(existing(t))) * w.codebook->factor;
  }

  [[nodiscard]] const ArrangementShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const TokenTiles& tiles() const noexcept { return tiles_; }
  [[nodiscard]] const Segment* segments() const noexcept { return segments_; }
  [[nodiscard]] Index segment_count() const noexcept { return segment_count_; }

  /// Fills in all tiles, in parallel.
  void arrange(const Execution& execution) {
    parallel_for_each_tile(execution, tiles_, 8 * shape_.padded_cols,
                           [&](Index token, Index count) {
                             arrange_tile(token, count);
                             if (shape_.operand != Operand::u8_by_s8) sum_tile(token, count);
                           });
  }

  /// A tile's part from a segment and the unit it starts at.
  [[nodiscard]] IntegerTokens tile(Index token, Index count, Index segment,
                                   Index unit) const noexcept {
    const Index first = token * segment_count_ + segment * count;
    return {codes_ + (token * shape_.padded_cols + unit * unit_ * count) * code_bytes_,
            offsets_ + first, segment_scales_ ? segment_scales_ + first : nullptr, scales_ + token};
  }

 private:
  /// The token itself, or the last one in place of what fills up the last tile.
  [[nodiscard]] Index existing(Index token) const noexcept {
    return std::min(token, x_.tokens() - 1);
  }
  /// The codes of a tile's tokens, row by row.
  [[nodiscard]] const std::int8_t* rows(Index token, Index count) noexcept {
    const std::int8_t* codes = x_.codes.data();
    if (token + count <= x_.tokens()) return codes + token * x_.cols();
    for (Index t = 0; t < count; ++t)
      std::copy_n(codes + existing(token + t) * x_.cols(), x_.cols(), padded_ + t * x_.cols());
    return padded_;
  }

  /// Room for a token in columns_.
  [[nodiscard]] Index column_bytes() const noexcept { return x_.cols() + quad_slack_bytes; }

  void arrange_tile(Index token, Index count) noexcept {
    const Index codes = shape_.padded_cols * count;
    const std::int8_t* const from = rows(token, count);
    std::int8_t* out = codes_ + token * shape_.padded_cols * code_bytes_;
    // Words are widened in place, from bytes in the upper half of their memory.
    std::int8_t* bytes = shape_.operand == Operand::s16 ? out + codes : out;
    if (shape_.padded_cols != x_.cols()) std::fill_n(bytes, codes, std::int8_t{0});
    if (shape_.order && count > 1)
      transpose_bytes(from, x_.cols(), count, x_.cols(), columns_ + token * column_bytes());
    const bool whole = shape_.group_length == shape_.padded_group;
    const Index length = whole ? x_.cols() : shape_.group_length;
    for (Index begin = 0, at = 0; begin < x_.cols(); begin += length, at += shape_.padded_group)
      arrange_columns(from, token, count, begin, std::min(length, x_.cols() - begin),
                      bytes + at * count);
    if (shape_.operand == Operand::s16) widen(bytes, codes / 4, out);
    if (shape_.operand == Operand::u8_by_s8) make_unsigned(out, codes / 8);
  }

  /// Packed columns [begin, begin + length) to [k/4][count][4].
  void arrange_columns(const std::int8_t* from, Index token, Index count, Index begin, Index length,
                       std::int8_t* out) const noexcept {
    const Index quads = length / 4, whole = 4 * quads;
    if (shape_.order)
      gather_quads(count > 1 ? columns_ + token * column_bytes() : from, shape_.order + begin,
                   quads, count, out);
    else
      transpose_words(from + begin, x_.cols(), count, quads, out);
    for (Index k = whole; k < length; ++k)
      for (Index t = 0; t < count; ++t)
        out[whole * count + 4 * t + k - whole] =
            from[t * x_.cols() + (shape_.order ? shape_.order[begin + k] : begin + k)];
  }

  /// Adds 128 to eights of codes.
  static void make_unsigned(std::int8_t* codes, Index eights) noexcept {
    for (; eights > 0; --eights, codes += 8) {
      std::uint64_t eight;
      std::memcpy(&eight, codes, sizeof(eight));
      eight ^= 0x8080808080808080u;
      std::memcpy(codes, &eight, sizeof(eight));
    }
  }

  /// See Operand::s16.
  static void widen(const std::int8_t* bytes, Index quads, std::int8_t* out) noexcept {
    for (; quads > 0; --quads, bytes += 4, out += 8) {
      const std::int16_t words[4] = {bytes[0], bytes[2], bytes[1], bytes[3]};
      std::memcpy(out, words, sizeof(words));
    }
  }

  void sum_tile(Index token, Index count) noexcept {
    const std::int8_t* codes = codes_ + token * shape_.padded_cols * code_bytes_;
    std::int32_t* offsets = offsets_ + token * segment_count_;
    for (Index s = 0; s < segment_count_; ++s, offsets += count) {
      const Segment& segment = segments_[s];
      sum_(codes + segment.first_unit * unit_ * count * code_bytes_, segment.units * unit_ / 4,
           count, offsets);
      for (Index t = 0; t < count; ++t) offsets[t] *= shape_.offset_factor;
      if (segment_scales_)
        for (Index t = 0; t < count; ++t)
          segment_scales_[token * segment_count_ + s * count + t] =
              x_.scale(existing(token + t), segment.activation_group);
    }
  }

  QuantizedActivationsView x_;
  ArrangementShape shape_;
  Index code_bytes_;
  IntegerKernel::Sum sum_;
  TokenTiles tiles_;
  Index segment_count_ = 0, unit_ = 1;
  std::optional<Scratch> scratch_;
  Segment* segments_ = nullptr;
  std::int8_t* codes_ = nullptr;
  std::int32_t* offsets_ = nullptr;
  float* segment_scales_ = nullptr;
  float* scales_ = nullptr;
  std::int8_t* columns_ = nullptr;  ///< [tokens][column_bytes]: tiles transposed, with an order
  std::int8_t* padded_ = nullptr;   ///< rows of the last tile, if it is filled up
};

}  // namespace pare::kernels
