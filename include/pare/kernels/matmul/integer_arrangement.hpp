#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include "pare/core/scratch.hpp"
#include "pare/kernels/dispatch/transpose.hpp"
#include "pare/kernels/matmul/segments.hpp"
#include "pare/kernels/matmul/token_tiles.hpp"

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
  Index step_quads;  ///< see IntegerTokens

  [[nodiscard]] bool same(const ArrangementShape& other, Index cols) const noexcept {
    return group_length == other.group_length && padded_group == other.padded_group &&
           padded_cols == other.padded_cols && unit == other.unit &&
           tile_tokens == other.tile_tokens && tile_step == other.tile_step &&
           offset_factor == other.offset_factor && few == other.few && operand == other.operand &&
           step_quads == other.step_quads && (order == nullptr) == (other.order == nullptr) &&
           (order == other.order || std::equal(order, order + cols, other.order));
  }
};

/// Activation codes as tiles read them, in scratch memory of a call.
class IntegerArrangement {
 public:
  IntegerArrangement(const QuantizedActivationsView& x, const PackedView& w,
                     const ArrangementShape& shape, const IntegerKernel& kernel,
                     Workspace* workspace)
      : x_(x),
        shape_(shape),
        code_bytes_(operand_bytes(shape.operand)),
        kernel_(kernel),
        tiles_(x.tokens(), shape.tile_tokens, shape.tile_step) {
    unit_ = w.unit;
    for_each_segment(w, x.group_length(), [&](const Segment& s) {
      ++segment_count_;
      columns_of_steps_ += steps(s) * step_columns();
    });
    const Index tokens = tiles_.padded_tokens(), sums = tokens * segment_count_;
    const Index codes = tokens * arranged_columns() * code_bytes_;
    const bool grouped = x.groups() > 1;
    const Index columns =
        shape.order ? (shape.step_quads > 0 ? 2 : 1) * tokens * column_bytes() : 0;
    const Index padded = tokens > x.tokens() ? shape.tile_tokens * x.cols() : 0;
    scratch_.emplace(
        workspace, Scratch::bytes<Segment>(segment_count_) + Scratch::bytes<Index>(segment_count_) +
                       Scratch::bytes<std::int8_t>(codes) + Scratch::bytes<std::int32_t>(sums) +
                       Scratch::bytes<float>(grouped ? sums : 0) + Scratch::bytes<float>(tokens) +
                       Scratch::bytes<std::int8_t>(columns) + Scratch::bytes<std::int8_t>(padded));
    segments_ = scratch_->take<Segment>(segment_count_);
    starts_ = scratch_->take<Index>(segment_count_);
    codes_ = scratch_->take<std::int8_t>(codes);
    offsets_ = scratch_->take<std::int32_t>(sums);
    if (grouped) segment_scales_ = scratch_->take<float>(sums);
    scales_ = scratch_->take<float>(tokens);
    columns_ = scratch_->take<std::int8_t>(columns);
    padded_ = scratch_->take<std::int8_t>(padded);
    Segment* next = segments_;
    for_each_segment(w, x.group_length(), [&](const Segment& s) { *next++ = s; });
    for (Index s = 0, start = 0; s < segment_count_; ++s) {
      starts_[s] = shape.step_quads > 0 ? start : segments_[s].first_unit * unit_;
      start += steps(segments_[s]) * step_columns();
    }
    for (Index t = 0; t < tokens; ++t)
      scales_[t] = (grouped ? 1.0f : x.scale(existing(t))) * w.codebook->factor;
  }

  [[nodiscard]] const ArrangementShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const TokenTiles& tiles() const noexcept { return tiles_; }
  [[nodiscard]] const Segment* segments() const noexcept { return segments_; }
  [[nodiscard]] Index segment_count() const noexcept { return segment_count_; }

  /// Columns of a token with what fills up units or steps.
  [[nodiscard]] Index arranged_columns() const noexcept {
    return shape_.step_quads > 0 ? columns_of_steps_ : shape_.padded_cols;
  }

  /// Fills in all tiles, in parallel.
  void arrange(const Execution& execution) {
    parallel_for_each_tile(execution, tiles_, 8 * shape_.padded_cols,
                           [&](Index token, Index count) {
                             if (shape_.step_quads > 0) return arrange_rows(token, count);
                             arrange_tile(token, count);
                             if (shape_.operand != Operand::u8_by_s8) sum_tile(token, count);
                           });
  }

  /// A tile's part from a segment on, or from a unit inside a segment where a step starts.
  [[nodiscard]] IntegerTokens tile(Index token, Index count, Index segment,
                                   Index unit) const noexcept {
    const Index first = token * segment_count_ + segment * count;
    const Index column = segment_count_ == 0
                             ? 0  // without columns
                             : starts_[segment] + (unit - segments_[segment].first_unit) * unit_;
    return {codes_ + (token * arranged_columns() + column * count) * code_bytes_, offsets_ + first,
            segment_scales_ ? segment_scales_ + first : nullptr, scales_ + token,
            shape_.step_quads};
  }

 private:
  [[nodiscard]] Index step_columns() const noexcept { return 4 * shape_.step_quads; }
  [[nodiscard]] Index steps(const Segment& s) const noexcept {
    return shape_.step_quads > 0 ? ceil_div(s.units * unit_, step_columns()) : 0;
  }

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
      kernel_.sum(codes + segment.first_unit * unit_ * count * code_bytes_,
                  segment.units * unit_ / 4, count, offsets);
      for (Index t = 0; t < count; ++t) offsets[t] *= shape_.offset_factor;
      if (segment_scales_) copy_scales(s, token, count);
    }
  }

  void copy_scales(Index segment, Index token, Index count) noexcept {
    for (Index t = 0; t < count; ++t)
      segment_scales_[token * segment_count_ + segment * count + t] =
          x_.scale(existing(token + t), segments_[segment].activation_group);
  }

  /// A tile by rows: see IntegerTokens.
  void arrange_rows(Index token, Index count) noexcept {
    const std::int8_t* const tile = rows(token, count);
    for (Index first = 0; first < count; first += max_transposed_tokens) {
      const Index some = std::min(max_transposed_tokens, count - first);
      const std::int8_t* row = tile + first * x_.cols();
      Index stride = x_.cols();
      if (shape_.order) {
        row = order_rows(row, token + first, some);
        stride = round_up(stride, 4);
      }
      for (Index t = first; t < first + some; ++t, row += stride) arrange_row(row, token, t, count);
    }
    if (segment_scales_)
      for (Index s = 0; s < segment_count_; ++s) copy_scales(s, token, count);
  }

  /// Some tokens' codes in packed order, rows of whole quads: in columns_.
  [[nodiscard]] const std::int8_t* order_rows(const std::int8_t* from, Index token,
                                              Index count) noexcept {
    const Index whole = x_.cols() / 4, quads = ceil_div(x_.cols(), 4);
    std::int8_t* const columns = columns_ + 2 * token * column_bytes();
    std::int8_t* const ordered = columns + count * column_bytes();
    transpose_bytes(from, x_.cols(), count, x_.cols(), columns);
    gather_quads(columns, shape_.order, whole, count, ordered);
    for (Index k = 4 * whole; k < x_.cols(); ++k)
      for (Index t = 0; t < count; ++t)
        ordered[4 * (whole * count + t) + k % 4] = columns[shape_.order[k] * count + t];
    transpose_words(ordered, 4 * count, quads, count, columns);
    return columns;
  }

  /// Token t of a tile.
  void arrange_row(const std::int8_t* row, Index token, Index t, Index count) noexcept {
    std::int8_t* const out = codes_ + token * columns_of_steps_ + t * step_columns();
    std::int32_t* offsets = offsets_ + token * segment_count_ + t;
    for (Index s = 0; s < segment_count_; ++s, offsets += count) {
      const Segment& segment = segments_[s];
      const Index group = segment.weight_group * shape_.group_length;
      const Index begin =
          group + segment.first_unit * unit_ - segment.weight_group * shape_.padded_group;
      const Index end =
          std::min({x_.cols(), group + shape_.group_length, begin + segment.units * unit_});
      copy_steps(row + begin, end - begin, steps(segment), count, out + starts_[s] * count);
      *offsets = shape_.offset_factor == 0
                     ? 0
                     : kernel_.row_sum(row + begin, end - begin) * shape_.offset_factor;
    }
  }

  /// `length` codes to steps that lie `count` rows apart, and zeros after them.
  void copy_steps(const std::int8_t* codes, Index length, Index steps, Index count,
                  std::int8_t* out) const noexcept {
    const Index columns = step_columns();
    for (; steps > 0; --steps, codes += columns, length -= columns, out += columns * count) {
      const Index left = std::clamp<Index>(length, 0, columns);
      std::memcpy(out, codes, static_cast<std::size_t>(left));
      std::memset(out + left, 0, static_cast<std::size_t>(columns - left));
    }
  }

  QuantizedActivationsView x_;
  ArrangementShape shape_;
  Index code_bytes_;
  const IntegerKernel& kernel_;
  TokenTiles tiles_;
  Index segment_count_ = 0, unit_ = 1;
  Index columns_of_steps_ = 0;
  std::optional<Scratch> scratch_;
  Segment* segments_ = nullptr;
  Index* starts_ = nullptr;  ///< the column each segment starts at, arranged
  std::int8_t* codes_ = nullptr;
  std::int32_t* offsets_ = nullptr;
  float* segment_scales_ = nullptr;
  float* scales_ = nullptr;
  std::int8_t* columns_ = nullptr;  ///< tiles transposed and reordered, with an order
  std::int8_t* padded_ = nullptr;   ///< rows of the last tile, if it is filled up
};

}  // namespace pare::kernels
