#pragma once

#include <algorithm>

#include "pare/kernels/gemm.hpp"

namespace pare {

namespace kernels {

/// The upper half (diagonal included) of h += xᵀ x for columns [i0, i0 + rows) by
/// [j0, j0 + cols) of x, j0 >= i0.
inline void gram_block(const GemmKernel<float>& kernel, MatrixView<const float> x, Index i0,
                       Index rows, Index j0, Index cols, MatrixView<double> h) {
  constexpr Index depth = gemm_depth<float>;
  const Index panel = kernel.panel_cols;
  const GemmScratch<float> scratch(rows * depth + panel * (depth + rows));
  float* const packed_b = scratch.data();
  float* const sums = packed_b + panel * depth;
  float* const packed_a = sums + panel * rows;
  for (Index k = 0; k < x.rows(); k += depth) {
    const Index tokens = std::min(depth, x.rows() - k);
    gather_block(kernel, rows, tokens, &x(k, i0), x.stride(1), x.stride(0), packed_a, depth);
    for (Index j = j0; j < j0 + cols; j += panel) {
      const Index width = std::min(panel, j0 + cols - j);
      const Index height = std::min(rows, j + width - i0);
      if (width < panel) std::fill_n(packed_b, panel * tokens, 0.0f);
      gather_block(kernel, tokens, width, &x(k, j), x.stride(0), x.stride(1), packed_b, panel);
      std::fill_n(sums, panel * height, 0.0f);
      multiply_panel(kernel, height, tokens, 1.0f, packed_a, packed_b, sums, panel);
      for (Index r = 0; r < height; ++r)
        for (Index l = std::max<Index>(0, i0 + r - j); l < width; ++l)
          h(i0 + r, j + l) += static_cast<double>(sums[r * panel + l]);
    }
  }
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
  const auto kernel = kernels::select_gemm_kernel<float>(execution.force);
  if (x.empty()) return;
  constexpr Index side = kernels::gemm_block;
  const Index blocks = ceil_div(n, side);
  // Block pairs i <= j in the order of j, so that pair p has j (j + 1) / 2 <= p.
  execution.parallel_for(blocks * (blocks + 1) / 2, [&](Index pair) {
    Index j = 0;
    while ((j + 1) * (j + 2) / 2 <= pair) ++j;
    const Index i = pair - j * (j + 1) / 2;
    kernels::gram_block(kernel, x, i * side, std::min(side, n - i * side), j * side,
                        std::min(side, n - j * side), h);
  });
}

/// h(j, i) = h(i, j) for i < j. Throws ShapeError when h is not square.
inline void mirror_upper(MatrixView<double> h, const Execution& execution = {}) {
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
