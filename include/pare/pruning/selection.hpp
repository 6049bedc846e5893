#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/solvers/n_of_m.hpp"
#include "pare/solvers/removed_count.hpp"
#include "pare/solvers/smallest_keys.hpp"
#include "pare/solvers/smallest_values.hpp"

namespace pare {

/// What competes with what.
enum class SelectionScope : std::uint8_t { matrix, row };

/// Which weights of a matrix go: unstructured unless a pattern is given.
struct Selection {
  /// The share that is removed.
  double sparsity = 0.5;
  /// Instead of a share: how many are removed, of the matrix or of each row.
  Index count = -1;
  SelectionScope scope = SelectionScope::matrix;
  /// N:M, when `of` is not 0: of every `of` neighbours in a row `keep` stay, whatever the sparsity.
  Index keep = 0, of = 0;
  /// Blocks of this shape go or stay as one, by the mean of their scores; -1 is a side of the
  /// matrix. Those at its edges may be smaller.
  Index block_rows = 1, block_cols = 1;
  CountRounding rounding = CountRounding::half_to_even;
  /// So many stay in a matrix, or in a row of scope `row`, whatever the sparsity.
  Index least_kept = 0;
  /// What is removed already stays removed, and counts as removed; null: nothing is.
  const Mask* within = nullptr;
};

namespace detail {

inline void require_valid(const Selection& s, const Shape<2>& shape) {
  if (s.of != 0) {
    require_n_of_m(s.keep, s.of, shape[1]);
    if (s.block_rows != 1 || s.block_cols != 1)
      throw ArgumentError("a selection has a pattern N:M or blocks, not both");
  }
  for (const Index side : {s.block_rows, s.block_cols})
    if (side != -1 && side < 1)
      throw ArgumentError("a block of " + std::to_string(side) + " rows or columns");
  if (s.least_kept < 0)
    throw ArgumentError("at least " + std::to_string(s.least_kept) + " weights are to be kept");
  if (s.within && s.within->shape() != shape)
    throw ShapeError("a mask of shape " + to_string(s.within->shape()) +
                     " does not fit scores of shape " + to_string(shape));
}

/// Throws NumericError for a score of row i that is NaN.
template <class T>
void require_ordered(MatrixView<T> scores, Index i, const kernels::RankKernel& kernel) {
  if constexpr (std::is_same_v<std::remove_const_t<T>, float>)
    if (scores.cols() > 0 && scores.stride(1) == 1 && !kernel.has_nan(&scores(i, 0), scores.cols()))
      return;
  for (Index j = 0; j < scores.cols(); ++j)
    if (is_nan(scores(i, j)))
      throw NumericError("the score at " + to_string(Shape<2>{i, j}) + " is NaN");
}
template <class T>
void require_ordered(MatrixView<T> scores, const Execution& execution = {}) {
  const kernels::RankKernel kernel = kernels::select_rank_kernel(execution);
  execution.parallel_for(scores.rows(), [&](Index i) { require_ordered(scores, i, kernel); });
}

/// How many of `n` go.
inline Index count_of(const Selection& s, Index n) {
  if (s.count > n)
    throw ArgumentError(std::to_string(s.count) + " of " + std::to_string(n) +
                        " weights are to be removed");
  const Index removed = s.count >= 0 ? s.count : removed_count(n, s.sparsity, s.rounding);
  return std::max<Index>(0, std::min(removed, n - std::min(n, s.least_kept)));
}

/// Removes the `count` smallest scores of rows [first, last), those with the lowest index first
/// among equals; what `mask` has removed already counts.
template <class T>
void remove_smallest(MatrixView<T> scores, Index first, Index last, Index count, Mask& mask,
                     const Execution& execution) {
  using Key = order_key_of<T>;
  Matrix<Key> keys({last - first, scores.cols()});
  execution.parallel_for(keys.rows(), [&](Index i) {
    for (Index j = 0; j < keys.cols(); ++j)
      keys(i, j) = mask(first + i, j) ? order_key(scores(first + i, j)) : removed_key<Key>;
  });
  for_each_smallest(
      keys, count, [&](Index i, Index j) { mask.set(first + i, j, false); }, execution);
}

/// The mean score of each block; of what is removed already in all of it, minus infinity.
template <class T>
Matrix<double> block_scores(MatrixView<T> scores, Index height, Index width, const Mask& mask) {
  Matrix<double> means({ceil_div(scores.rows(), height), ceil_div(scores.cols(), width)});
  for (Index b = 0; b < means.rows(); ++b)
    for (Index c = 0; c < means.cols(); ++c) {
      double sum = 0.0;
      Index count = 0, kept = 0;
      for (Index i = b * height; i < std::min(scores.rows(), (b + 1) * height); ++i)
        for (Index j = c * width; j < std::min(scores.cols(), (c + 1) * width); ++j) {
          sum += static_cast<double>(scores(i, j));
          ++count;
          kept += mask(i, j);
        }
      means(b, c) =
          kept == 0 ? -std::numeric_limits<double>::infinity() : sum / static_cast<double>(count);
    }
  return means;
}

/// No pattern, and nothing removed yet.
[[nodiscard]] inline bool is_plain(const Selection& s) noexcept {
  return s.of == 0 && s.block_rows == 1 && s.block_cols == 1 && !s.within;
}

/// Such a selection of floats whose rows lie in memory without gaps.
[[nodiscard]] inline Mask select_plain(MatrixView<const float> scores, const Selection& selection,
                                       const Execution& execution) {
  const Index rows = scores.rows(), cols = scores.cols();
  const kernels::RankKernel kernel = kernels::select_rank_kernel(execution);
  Mask mask(rows, cols);
  const auto write = [&](Index i, SmallestValues smallest) {
    write_bits_from(kernel, &scores(i, 0), cols, smallest, i, 0, mask);
  };
  with_standard_floats(execution, [&](const Execution& standard) {
    if (selection.scope == SelectionScope::matrix) {
      require_ordered(scores, standard);
      const Index count = count_of(selection, rows * cols);
      return for_each_row_of_smallest(kernel, scores, count, write, standard);
    }
    const Index count = count_of(selection, cols);
    standard.parallel_for(rows, [&](Index i) {
      require_ordered(scores, i, kernel);
      if (count > 0) write(i, smallest_of_row(kernel, &scores(i, 0), cols, count));
    });
  });
  return mask;
}

}  // namespace detail

/// Removes what is unimportant: exactly as many as the selection says, the lowest scores; of equal
/// ones the lowest index goes first, and in N:M the lowest index stays.
///
///     const Mask mask = select(magnitude_scores(w), {.sparsity = 0.5});
///     const Mask pairs = select(scores, {.keep = 2, .of = 4});
///
/// Shapes    scores (rows, cols) in float or double; low = unimportant; infinite ones are allowed
/// Errors    ArgumentError for a sparsity outside [0, 1], a pattern or block that is none, and rows
///           that do not divide into groups of M; ShapeError for a mask of another shape;
///           NumericError for a score that is NaN
/// Edge      where blocks are given, `count` and `least_kept` count blocks, and scope `row` is a
///           row of blocks
/// Order     independent of the number of threads
template <class T>
requires std::is_floating_point_v<std::remove_const_t<T>>
[[nodiscard]] Mask select(MatrixView<T> scores, const Selection& selection,
                          const Execution& execution = {}) {
  const Shape<2> shape = scores.shape();
  detail::require_valid(selection, shape);
  if constexpr (std::is_same_v<std::remove_const_t<T>, float>)
    if (detail::is_plain(selection) && scores.stride(1) == 1)
      return detail::select_plain(scores, selection, execution);
  detail::require_ordered(scores, execution);
  Mask mask = selection.within ? *selection.within : Mask(shape[0], shape[1]);
  if (selection.of != 0) {
    execution.parallel_for(shape[0], [&](Index i) {
      const auto key = [&](Index j) {
        using Key = detail::order_key_of<T>;
        const bool is_there = !selection.within || (*selection.within)(i, j);
        return is_there ? detail::order_key(scores(i, j)) : detail::removed_key<Key>;
      };
      detail::write_n_of_m_row(selection.keep, selection.of, key, i, mask);
    });
    return selection.within ? mask &= *selection.within : mask;
  }
  const Index height =
      selection.block_rows == -1 ? std::max<Index>(1, shape[0]) : selection.block_rows;
  const Index width =
      selection.block_cols == -1 ? std::max<Index>(1, shape[1]) : selection.block_cols;
  if (height != 1 || width != 1) {
    const Matrix<double> means = detail::block_scores(scores, height, width, mask);
    Selection of_blocks = selection;
    of_blocks.block_rows = of_blocks.block_cols = 1;
    of_blocks.within = nullptr;
    const Mask blocks = select(means.view(), of_blocks, execution);
    for (Index i = 0; i < shape[0]; ++i)
      for (Index j = 0; j < shape[1]; ++j)
        if (!blocks(i / height, j / width)) mask.set(i, j, false);
    return mask;
  }
  if (selection.scope == SelectionScope::matrix) {
    const Index count = detail::count_of(selection, shape[0] * shape[1]);
    detail::remove_smallest(scores, 0, shape[0], count, mask, execution);
    return mask;
  }
  const Index count = detail::count_of(selection, shape[1]);
  if (count == 0) return mask;
  execution.parallel_for(
      shape[0], [&](Index i) { detail::remove_smallest(scores, i, i + 1, count, mask, {}); });
  return mask;
}
template <class T>
[[nodiscard]] Mask select(const Matrix<T>& scores, const Selection& selection,
                          const Execution& execution = {}) {
  return select(scores.view(), selection, execution);
}

/// A 2:4 mask whose transpose is one too, so that a product with it and one with its transpose
/// are both fast: of the 90 ways to keep two in each row and column of a 4 x 4 tile the one with
/// the largest sum of scores, the first of equal ones.
///
/// Errors    ArgumentError unless both sides are multiples of 4; NumericError for NaN
/// Source    Hubara et al., "Accelerated Sparse Neural Training", 2021
template <class T>
[[nodiscard]] Mask select_transposable_two_four(MatrixView<T> scores,
                                                const Execution& execution = {});

namespace detail {

/// The 4 x 4 tiles with two bits in each row and column, four bits a row, ascending.
inline const std::vector<std::array<std::uint8_t, 4>>& transposable_tiles() {
  static const std::vector<std::array<std::uint8_t, 4>> tiles = [] {
    constexpr std::array<std::uint8_t, 6> pairs{3, 5, 6, 9, 10, 12};
    std::vector<std::array<std::uint8_t, 4>> found;
    for (const auto a : pairs)
      for (const auto b : pairs)
        for (const auto c : pairs)
          for (const auto d : pairs) {
            bool fits = true;
            for (int column = 0; column < 4; ++column) {
              const auto bit = [&](std::uint8_t row) { return row >> column & 1; };
              fits = fits && bit(a) + bit(b) + bit(c) + bit(d) == 2;
            }
            if (fits) found.push_back({a, b, c, d});
          }
    return found;
  }();
  return tiles;
}

}  // namespace detail

template <class T>
Mask select_transposable_two_four(MatrixView<T> scores, const Execution& execution) {
  if (scores.rows() % 4 != 0 || scores.cols() % 4 != 0)
    throw ArgumentError("scores of shape " + to_string(scores.shape()) +
                        " do not divide into tiles of 4 x 4");
  detail::require_ordered(scores, execution);
  Mask mask(scores.rows(), scores.cols(), false);
  execution.parallel_for(scores.rows() / 4, [&](Index band) {
    for (Index left = 0; left < scores.cols(); left += 4) {
      const std::array<std::uint8_t, 4>* best = nullptr;
      double largest = -std::numeric_limits<double>::infinity();
      for (const auto& tile : detail::transposable_tiles()) {
        double sum = 0.0;
        for (Index i = 0; i < 4; ++i)
          for (Index j = 0; j < 4; ++j)
            if (tile[static_cast<std::size_t>(i)] >> j & 1)
              sum += static_cast<double>(scores(4 * band + i, left + j));
        if (!best || sum > largest) {
          best = &tile;
          largest = sum;
        }
      }
      for (Index i = 0; i < 4; ++i)
        for (Index j = 0; j < 4; ++j)
          if ((*best)[static_cast<std::size_t>(i)] >> j & 1) mask.set(4 * band + i, left + j, true);
    }
  });
  return mask;
}

}  // namespace pare
