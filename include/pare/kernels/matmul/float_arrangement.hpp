#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "pare/core/scratch.hpp"
#include "pare/kernels/dispatch/bf16_pairs.hpp"
#include "pare/kernels/dispatch/transpose.hpp"
#include "pare/kernels/layout/packed_layout.hpp"
#include "pare/kernels/matmul/token_tiles.hpp"

namespace pare::kernels {

/// What the tiles of a float matmul read of the activations.
enum class FloatOperand : std::uint8_t {
  f32,      ///< [k][t]
  rounded,  ///< the same, rounded to bf16
  bf16,     ///< [k/4][2][t][2], rounded: k = 0, 2 and 1, 3 of four
  /// The same pairs token by token, [steps][t][step_columns], zero after the end of a group.
  bf16_rows,
};

/// What decides how activations are arranged: weights that agree in it share one arrangement.
struct FloatArrangementShape {
  Index group_length, padded_group, padded_cols;
  const std::int32_t* order;
  Index tile_tokens;  ///< largest tile
  Index tile_step;    ///< what their numbers of tokens are multiples of
  bool group_sums;    ///< for kernels that read packed codes with zero points
  FloatOperand operand;
  Index step_columns = 1;  ///< with bf16_rows

  [[nodiscard]] bool same(const FloatArrangementShape& other, Index cols) const noexcept {
    return group_length == other.group_length && padded_group == other.padded_group &&
           padded_cols == other.padded_cols && tile_tokens == other.tile_tokens &&
           tile_step == other.tile_step && group_sums == other.group_sums &&
           operand == other.operand && step_columns == other.step_columns &&
           (order == nullptr) == (other.order == nullptr) &&
           (order == other.order || std::equal(order, order + cols, other.order));
  }
};

/// Activations as tiles read them, in scratch memory of a call. x has unit column stride.
class FloatArrangement {
 public:
  FloatArrangement(MatrixView<const float> x, const FloatArrangementShape& shape,
                   Workspace* workspace)
      : x_(x),
        shape_(shape),
        tiles_(x.rows(), shape.tile_tokens, shape.tile_step),
        token_words_(shape.padded_cols) {
    const bool by_rows = shape.operand == FloatOperand::bf16_rows;
    if (by_rows)  // words of two columns
      token_words_ = round_up(arranged_column(shape.padded_cols), shape.step_columns) / 2;
    const Index tokens = tiles_.padded_tokens(), floats = tokens * token_words_;
    const Index columns = by_rows       ? tokens / shape.tile_step * shape.padded_cols
                          : shape.order ? tokens * x.cols()
                                        : 0;
    const Index sums = shape.group_sums ? tokens * groups() : 0;
    const Index padded = tokens > x.rows() && !by_rows ? shape.tile_tokens * x.cols() : 0;
    scratch_.emplace(workspace, Scratch::bytes<float>(floats) + Scratch::bytes<float>(columns) +
                                    Scratch::bytes<float>(sums) + Scratch::bytes<float>(padded));
    arranged_ = scratch_->take<float>(floats);
    columns_ = scratch_->take<float>(columns);
    padded_ = scratch_->take<float>(padded);
    if (shape.group_sums) group_sums_ = scratch_->take<float>(sums);
  }

  [[nodiscard]] const FloatArrangementShape& shape() const noexcept { return shape_; }
  [[nodiscard]] const TokenTiles& tiles() const noexcept { return tiles_; }
  /// Of the only tile, [groups][t]; null unless the shape asks for them.
  [[nodiscard]] const float* group_sums() const noexcept { return group_sums_; }

  /// Fills in all tiles, in parallel.
  void arrange(const Execution& execution) {
    parallel_for_each_tile(execution, tiles_, 8 * shape_.padded_cols,
                           [&](Index token, Index count) { arrange_tile(token, count); });
    if (group_sums_) sum_groups();
  }

  /// A tile's part from a packed column on, a multiple of four.
  [[nodiscard]] const float* tile(Index token, Index count, Index column) const noexcept {
    const Index elements = column * count;
    const float* const tile = arranged_ + token * token_words_;
    switch (shape_.operand) {
      case FloatOperand::bf16:
        return tile + elements / 2;
      case FloatOperand::bf16_rows:
        return tile + arranged_column(column) * count / 2;
      default:
        return tile + elements;
    }
  }

 private:
  [[nodiscard]] Index groups() const noexcept {
    return shape_.padded_cols == 0 ? 0 : ceil_div(shape_.padded_cols, shape_.padded_group);
  }

  /// With bf16_rows, where groups are filled up to whole steps.
  [[nodiscard]] Index arranged_column(Index column) const noexcept {
    const Index group = column / shape_.padded_group;
    return group * round_up(shape_.padded_group, shape_.step_columns) +
           column % shape_.padded_group;
  }

  /// A tile token by token: see FloatOperand::bf16_rows.
  void arrange_rows(Index token, Index count) noexcept {
    float* const row = columns_ + token / shape_.tile_step * shape_.padded_cols;
    for (Index t = 0; t < count; ++t) {
      fill_row(x_.data() + std::min(token + t, x_.rows() - 1) * x_.stride(0), row);
      pack_bf16_pairs(row, shape_.padded_cols / 4, 1);
      for (Index begin = 0; begin < shape_.padded_cols; begin += shape_.padded_group)
        copy_steps(row, begin, std::min(begin + shape_.padded_group, shape_.padded_cols), token, t,
                   count);
    }
  }

  /// Columns in packed order, groups filled up with zeros.
  void fill_row(const float* x, float* row) const noexcept {
    if (shape_.padded_cols != x_.cols()) std::fill_n(row, shape_.padded_cols, 0.0f);
    for (Index k = 0; k < x_.cols(); k += shape_.group_length, row += shape_.padded_group) {
      const Index length = std::min(shape_.group_length, x_.cols() - k);
      if (shape_.order)
        for (Index i = 0; i < length; ++i) row[i] = x[shape_.order[k + i]];
      else
        std::copy_n(x + k, length, row);
    }
  }

  /// The pairs of columns [begin, end), a group, of token t of a tile.
  void copy_steps(const float* row, Index begin, Index end, Index token, Index t,
                  Index count) noexcept {
    const Index step = shape_.step_columns;
    float* out = arranged_ + token * token_words_ + (arranged_column(begin) * count + step * t) / 2;
    for (Index k = begin; k < end; k += step, out += step * count / 2) {
      const Index left = std::min(step, end - k);
      std::copy_n(row + k / 2, left / 2, out);
      std::fill_n(out + left / 2, (step - left) / 2, 0.0f);
    }
  }

  void arrange_tile(Index token, Index count) noexcept {
    if (shape_.operand == FloatOperand::bf16_rows) return arrange_rows(token, count);
    float* out = arranged_ + token * shape_.padded_cols;
    const Index floats = shape_.padded_cols * count;
    if (shape_.padded_cols != x_.cols()) std::fill_n(out, floats, 0.0f);
    const float* row = x_.data() + token * x_.stride(0);
    Index stride_bytes = 4 * x_.stride(0);
    if (token + count > x_.rows()) {  // copies of the last token fill up the tile
      for (Index t = 0; t < count; ++t)
        std::copy_n(x_.data() + std::min(token + t, x_.rows() - 1) * x_.stride(0), x_.cols(),
                    padded_ + t * x_.cols());
      row = padded_;
      stride_bytes = 4 * x_.cols();
    }
    const float* columns = row;
    if (shape_.order && count > 1) {
      columns = columns_ + token * x_.cols();
      transpose_words(row, stride_bytes, count, x_.cols(), columns_ + token * x_.cols());
    }
    const bool whole = shape_.group_length == shape_.padded_group;
    const Index length = whole ? x_.cols() : shape_.group_length;
    for (Index k = 0, at = 0; k < x_.cols(); k += length, at += shape_.padded_group) {
      const Index part = std::min(length, x_.cols() - k);
      if (shape_.order)
        gather_words(columns, shape_.order + k, part, count, out + at * count);
      else
        transpose_words(row + k, stride_bytes, count, part, out + at * count);
    }
    if (shape_.operand == FloatOperand::rounded) round_to_bf16(out, floats);
    if (shape_.operand == FloatOperand::bf16) pack_bf16_pairs(out, shape_.padded_cols / 4, count);
  }

  /// Four sums for each, added last: one would wait for itself.
  void sum_groups() noexcept {
    const Index count = x_.rows();
    float* sums = group_sums_;
    for (Index begin = 0; begin < shape_.padded_cols; begin += shape_.padded_group)
      for (Index t = 0; t < count; ++t) {
        const float* x = arranged_ + begin * count + t;
        float parts[4] = {};
        for (Index k = std::min(shape_.padded_group, shape_.padded_cols - begin); k > 0; k -= 4)
          for (float& part : parts) {
            part += *x;
            x += count;
          }
        *sums++ = (parts[0] + parts[1]) + (parts[2] + parts[3]);
      }
  }

  MatrixView<const float> x_;
  FloatArrangementShape shape_;
  TokenTiles tiles_;
  Index token_words_;  ///< of an arranged token
  std::optional<Scratch> scratch_;
  float* arranged_ = nullptr;
  float* columns_ = nullptr;  ///< tiles transposed, with an order
  float* padded_ = nullptr;   ///< rows of the last tile, if it is filled up
  float* group_sums_ = nullptr;
};

}  // namespace pare::kernels
