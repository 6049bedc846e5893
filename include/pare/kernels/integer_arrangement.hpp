#pragma once

#include <algorithm>
#include <optional>

#include "pare/kernels/matmul_blocks.hpp"
#include "pare/kernels/scratch.hpp"
#include "pare/kernels/segments.hpp"

namespace pare::kernels {

/// What decides how activations are arranged: weights that agree in it share one arrangement.
struct ArrangementShape {
  Index group_length, padded_group, padded_cols, groups;
  const std::int32_t* order;
  Index tile_tokens;           ///< largest tile
  std::int32_t offset_factor;  ///< sums start at this times the sum of the codes
  bool few;                    ///< for kernels that read packed codes
  Operand operand;

  [[nodiscard]] bool same(const ArrangementShape& other, Index cols) const noexcept {
    return group_length == other.group_length && padded_group == other.padded_group &&
           padded_cols == other.padded_cols && tile_tokens == other.tile_tokens &&
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
        tiles_(x.tokens(), shape.tile_tokens) {
    for_each_segment(w, x.group_length(), [&](const Segment&) { ++segment_count_; });
    const Index tokens = x.tokens(), sums = tokens * segment_count_;
    const Index codes = tokens * shape.padded_cols * code_bytes_;
    const bool grouped = x.groups() > 1;
    scratch_.emplace(workspace,
                     Scratch::bytes<Segment>(segment_count_) + Scratch::bytes<std::int8_t>(codes) +
                         Scratch::bytes<std::int32_t>(sums) +
                         Scratch::bytes<float>(grouped ? sums : 0) + Scratch::bytes<float>(tokens));
    segments_ = scratch_->take<Segment>(segment_count_);
    codes_ = scratch_->take<std::int8_t>(codes);
    offsets_ = scratch_->take<std::int32_t>(sums);
    if (grouped) segment_scales_ = scratch_->take<float>(sums);
    scales_ = scratch_->take<float>(tokens);
    Segment* next = segments_;
    for_each_segment(w, x.group_length(), [&](const Segment& s) { *next++ = s; });
    unit_ = w.unit;
    for (Index t = 0; t < tokens; ++t)
      scales_[t] = (grouped ? 1.0f : x.scale(t)) * w.codebook->factor;
  }

  [[nodiscard]] const ArrangementShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const TokenTiles& tiles() const noexcept { return tiles_; }
  [[nodiscard]] const Segment* segments() const noexcept { return segments_; }
  [[nodiscard]] Index segment_count() const noexcept { return segment_count_; }

  /// Fills in all tiles, in parallel.
  void arrange(const Execution& execution) {
    parallel_for_each_tile(execution, tiles_, 8 * shape_.padded_cols,
                           [&](Index token, Index count) {
                             if (shape_.operand == Operand::s16)
                               interleave_tile<std::int16_t>(token, count);
                             else
                               interleave_tile<std::int8_t>(token, count);
                             sum_tile(token, count);
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
  template <class Code>
  void interleave_tile(Index token, Index count) noexcept {
    Code* out = reinterpret_cast<Code*>(codes_) + token * shape_.padded_cols;
    if (shape_.padded_cols != x_.cols()) std::fill_n(out, shape_.padded_cols * count, Code{0});
    // Rows are written in turns: the lines they share stay in a first-level cache.
    const bool whole = shape_.group_length == shape_.padded_group;
    const Index length = whole ? x_.cols() : shape_.group_length;
    for (Index begin = 0, at = 0; begin < x_.cols(); begin += length, at += shape_.padded_group)
      for (Index k = 0; k < std::min(length, x_.cols() - begin); k += columns_per_turn)
        for (Index t = 0; t < count; ++t)
          interleave(token + t, begin + k,
                     std::min({columns_per_turn, length - k, x_.cols() - begin - k}), count,
                     out + (at + k) * count + 4 * t);
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
              x_.scale(token + t, segment.activation_group);
    }
  }

  template <class Code>
  void interleave(Index token, Index begin, Index length, Index count, Code* out) const noexcept {
    const std::int8_t* row = x_.codes.data() + token * x_.cols();
    if (!shape_.order) {
      const std::int8_t* in = row + begin;
      for (; length >= 4; length -= 4, in += 4, out += 4 * count) store_four(in, 4, out);
      store_four(in, length, out);
      return;
    }
    const std::int32_t* order = shape_.order + begin;
    for (; length >= 4; length -= 4, order += 4, out += 4 * count) {
      const std::int8_t four[4] = {row[order[0]], row[order[1]], row[order[2]], row[order[3]]};
      store_four(four, 4, out);
    }
    std::int8_t rest[4] = {};
    for (Index i = 0; i < length; ++i) rest[i] = row[order[i]];
    store_four(rest, length, out);
  }

  static void store_four(const std::int8_t* four, Index count, std::int8_t* out) noexcept {
    std::copy_n(four, count, out);
  }
  static void store_four(const std::int8_t* four, Index count, std::int16_t* out) noexcept {
    constexpr Index place[4] = {0, 2, 1, 3};
    for (Index i = 0; i < count; ++i) out[place[i]] = four[i];
  }

  static constexpr Index columns_per_turn = 1024;

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
};

}  // namespace pare::kernels
