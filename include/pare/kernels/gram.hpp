#pragma once

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/kernels/dispatch/gemm.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm/blocks.hpp"
#include "pare/kernels/gemm/few_rows.hpp"

namespace pare {

namespace kernels {

/// Tokens that are packed at once: what bounds the scratch memory.
inline constexpr Index gram_tokens = 2048;

/// Adds those of the sums that belong on or above the diagonal of h; (i, j) is their corner.
inline void add_upper(MatrixView<const double> sums, Index i, Index j, MatrixView<double> h) {
  constexpr Index rows_ahead = 4, line = 8;
  for (Index r = 0; r < sums.rows(); ++r) {
    const Index first = std::max<Index>(0, i + r - j), count = sums.cols() - first;
    if (count <= 0) break;
    if (h.stride(1) == 1) {
      double* const to = &h(i + r, j + first);
      const double* const from = &sums(r, first);
      if (r + rows_ahead < sums.rows())
        for (Index l = 0; l < count; l += line) PARE_PREFETCH(to + rows_ahead * h.stride(0) + l);
      for (Index l = 0; l < count; ++l) to[l] += from[l];
    } else {
      for (Index l = first; l < sums.cols(); ++l) h(i + r, j + l) += sums(r, l);
    }
  }
}

/// The upper half (diagonal included) of h += xᵀ x for `rows` columns of x from i on by `cols`
/// from j on; both packings hold `tokens` tokens.
inline void gram_block(const GemmKernel<float, double>& kernel, const PackedRows<float>& left,
                       const PackedColumns<float>& right, Index tokens, Index i, Index rows,
                       Index j, Index cols, MatrixView<double> h) {
  constexpr Index depth = gemm_depth<float>;
  const Index padded = round_up(cols, kernel.panel_cols);
  const bool in_place = tokens <= depth && i + rows <= j && cols == padded && h.stride(1) == 1;
  const GemmScratch<double> scratch(in_place ? 0 : rows * padded);
  const MatrixView<double> sums = in_place ? h.slice(0, i, rows).slice(1, j, cols)
                                           : MatrixView<double>(scratch.data(), {rows, padded});
  if (!in_place) std::fill_n(sums.data(), sums.size(), 0.0);
  for (Index k = 0; k < tokens; k += depth) {
    // What is read next: the following tokens or, most likely, the block below.
    const bool last = k + depth >= tokens;
    const Index next_k = last ? 0 : k + depth;
    const MatrixView<const float> next(left.at(last ? i + rows : i, next_k), {rows, depth});
    multiply_panels<float, double>(
        kernel, std::min(depth, tokens - k), 1.0f,
        [&](Index first, Index) { return left.at(i + first, k); },
        right.panels(k, j, kernel.panel_cols), sums, next, (next_k - k) * kernel.panel_cols);
  }
  if (!in_place) add_upper(sums.slice(1, 0, cols), i, j, h);
}

}  // namespace kernels

/// Adds the Gram matrix of the rows of x to the upper half of h, diagonal included.
///
///     h(i, j) += sum over tokens t of x(t, i) x(t, j)      for i <= j
///
/// Shapes    x (tokens, n) of any strides, h (n, n)
/// Errors    ShapeError naming the shapes; ArgumentError for a forced kernel that cannot run
/// Accuracy  float sums of at most 256 tokens, added in double
/// Order     independent of the number of threads
inline void gram_upper(MatrixView<const float> x, MatrixView<double> h,
                       const Execution& execution = {}) {
  const Index n = x.cols();
  if (h.rows() != n || h.cols() != n)
    throw ShapeError("cannot add the Gram matrix of " + to_string(x.shape()) + " to " +
                     to_string(h.shape()));
  const auto kernel = kernels::select_gemm_kernel<float, double>(execution.force);
  if (x.empty()) return;
  constexpr Index width = kernels::gemm_block_cols;
  const Index height = kernels::gemm_rows_per_block(n);
  // Blocks on or above the diagonal, column by column.
  std::vector<std::pair<Index, Index>> corners;
  for (Index j = 0; j < n; j += width)
    for (Index i = 0; i < std::min(n, j + width); i += height) corners.emplace_back(i, j);
  for (Index begin = 0; begin < x.rows(); begin += kernels::gram_tokens) {
    const Index tokens = std::min(kernels::gram_tokens, x.rows() - begin);
    const MatrixView<const float> part = x.slice(0, begin, tokens);
    const kernels::PackedRows<float> left(kernel, part.transposed(), execution.parallel_for);
    const kernels::PackedColumns<float> right(
        kernel, part,
        [&](Index) {
          return kernels::GemmTerms{0, tokens};
        },
        execution.parallel_for);
    execution.parallel_for(static_cast<Index>(corners.size()), [&](Index block) {
      const auto [i, j] = corners[static_cast<std::size_t>(block)];
      kernels::gram_block(kernel, left, right, tokens, i, std::min({height, n - i, j + width - i}),
                          j, std::min(width, n - j), h);
    });
  }
}

/// h(j, i) = h(i, j) for i < j. Throws ShapeError when h is not square.
template <class T = double>
void mirror_upper(std::type_identity_t<MatrixView<T>> h, const Execution& execution = {}) {
  const Index n = h.rows();
  if (h.cols() != n) throw ShapeError("cannot mirror a matrix of shape " + to_string(h.shape()));
  constexpr Index side = 64;  // two blocks fit a first-level cache
  execution.parallel_for(ceil_div(n, side), [&](Index block) {
    const Index i0 = block * side, i1 = std::min(n, i0 + side);
    for (Index j0 = 0; j0 < i1; j0 += side)
      for (Index i = i0; i < i1; ++i)
        for (Index j = j0; j < std::min(i, j0 + side); ++j) h(i, j) = h(j, i);
  });
}

/// Adds the Gram matrix of the rows of x to a symmetric matrix: gram_upper, then mirror_upper.
///
///     h += xᵀ x
inline void gram(MatrixView<const float> x, MatrixView<double> h, const Execution& execution = {}) {
  gram_upper(x, h, execution);
  mirror_upper(h, execution);
}

}  // namespace pare
