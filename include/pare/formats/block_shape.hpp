#pragma once

#include <algorithm>
#include <numeric>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace pare {

/// Which weights of a matrix share parameters: tiles of rows x columns, or runs of `cols` weights
/// of the flattened matrix, which go on from one row to the next. Those at the end may be smaller.
struct BlockShape {
  Index rows = 1;     ///< -1: all
  Index cols = -1;    ///< -1: all; in runs, all weights
  bool flat = false;  ///< runs; `rows` is 1 then

  /// 1 x `columns`.
  [[nodiscard]] static constexpr BlockShape groups(Index columns) noexcept { return {1, columns}; }
  [[nodiscard]] static constexpr BlockShape row() noexcept { return {}; }
  [[nodiscard]] static constexpr BlockShape tensor() noexcept { return {-1, -1}; }
  [[nodiscard]] static constexpr BlockShape tiles(Index rows, Index cols) noexcept {
    return {rows, cols};
  }
  [[nodiscard]] static constexpr BlockShape runs(Index weights) noexcept {
    return {1, weights, true};
  }

  /// Whether a block is no more than a part of a row.
  [[nodiscard]] constexpr bool is_in_row() const noexcept { return rows == 1 && !flat; }

  friend bool operator==(const BlockShape&, const BlockShape&) = default;
};

namespace detail {

[[nodiscard]] inline Index group_count(Index cols, Index group_size) {
  if (group_size == 0 || group_size < -1)
    throw ArgumentError("group size " + std::to_string(group_size) +
                        " is neither -1 (whole row) nor positive");
  if (group_size > cols)
    throw ArgumentError("group size " + std::to_string(group_size) + " is larger than the row of " +
                        std::to_string(cols));
  if (group_size == -1) return cols > 0 ? 1 : 0;
  return ceil_div(cols, group_size);
}

/// The columns of a row that share parameters in every row: all that can for runs, which begin
/// anywhere. Throws ArgumentError for blocks that a matrix of rows x cols cannot have.
[[nodiscard]] inline Index checked_group_size(const BlockShape& blocks, Index rows, Index cols) {
  const auto fits = [](Index size, Index all) { return size == -1 || (size > 0 && size <= all); };
  if (!blocks.flat) {
    const Index least = std::max<Index>(rows, 1);
    if (blocks.rows != 1 && !(fits(blocks.rows, least) && fits(blocks.cols, cols)))
      throw ArgumentError("blocks of " + std::to_string(blocks.rows) + " x " +
                          std::to_string(blocks.cols) + " do not fit a matrix of " +
                          std::to_string(rows) + " x " + std::to_string(cols) +
                          ": sizes are 1 to all, or -1 for all");
    return blocks.cols;
  }
  if (blocks.rows != 1) throw ArgumentError("runs have no rows of their own");
  if (!fits(blocks.cols, rows * cols))
    throw ArgumentError("runs of " + std::to_string(blocks.cols) + " do not fit " +
                        std::to_string(rows * cols) + " weights: 1 to all, or -1 for all");
  return blocks.cols == -1 || rows * cols == 0 ? -1 : std::gcd(blocks.cols, cols);
}

}  // namespace detail

}  // namespace pare
