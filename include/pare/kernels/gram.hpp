#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "pare/kernels/gemm.hpp"

namespace pare {

namespace kernels {

/// Tokens that are packed at once: what bounds the scratch memory.
inline constexpr Index gram_tokens = 2048;

/// Adds a tile's sums to those elements of h on or above the diagonal; (i, j) is its corner.
inline void add_upper(MatrixView<const double> sums, Index i, Index j, MatrixView<double> h) {
  for (Index r = 0; r < sums.rows(); ++r)
    for (Index l = std::max<Index>(0, i + r - j); l < sums.cols(); ++l)
      h(i + r, j + l) += sums(r, l);
}

/// The upper half (diagonal included) of h += xᵀ x for `rows` columns of x from i0 on by `cols`
/// from j0 on; `packed` holds xᵀ.
inline void gram_block(const GemmKernel<float, double>& kernel, const PackedRows<float>& packed,
                       MatrixView<const float> x, Index i0, Index rows, Index j0, Index cols,
                       MatrixView<double> h) {
  constexpr Index depth = gemm_depth<float>;
  const Index panel = kernel.panel_cols;
  const GemmScratch<float> scratch(panel * depth);
  const GemmScratch<double> aside(panel * kernel.tile_rows);
  for (Index k = 0; k < x.rows(); k += depth) {
    const Index tokens = std::min(depth, x.rows() - k);
    for (Index j = j0; j < j0 + cols; j += panel) {
      const Index width = std::min(panel, j0 + cols - j);
      if (width < panel) std::fill_n(scratch.data(), panel * tokens, 0.0f);
      gather_block(kernel, tokens, width, &x(k, j), x.stride(0), x.stride(1), scratch.data(),
                   panel);
      const Index bottom = std::min(i0 + rows, j + width);
      const Index above =
          h.stride(1) == 1 && width == panel
              ? std::clamp<Index>((j - i0) / kernel.tile_rows * kernel.tile_rows, 0, rows)
              : 0;
      if (above > 0)
        multiply_panel(kernel, above, tokens, 1.0f, packed.at(i0, k), scratch.data(), &h(i0, j),
                       h.stride(0));
      for (Index i = i0 + above; i < bottom; i += kernel.tile_rows) {
        const Index height = std::min(kernel.tile_rows, bottom - i);
        std::fill_n(aside.data(), panel * height, 0.0);
        multiply_panel(kernel, height, tokens, 1.0f, packed.at(i, k), scratch.data(), aside.data(),
                       panel);
        add_upper({aside.data(), {height, width}, {panel, 1}}, i, j, h);
      }
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
  const auto kernel = kernels::select_gemm_kernel<float, double>(execution.force);
  if (x.empty()) return;
  constexpr Index height = kernels::gemm_block_rows, width = kernels::gemm_block_cols;
  // Blocks on or above the diagonal, column by column.
  std::vector<std::pair<Index, Index>> corners;
  for (Index j = 0; j < n; j += width)
    for (Index i = 0; i < std::min(n, j + width); i += height) corners.emplace_back(i, j);
  for (Index begin = 0; begin < x.rows(); begin += kernels::gram_tokens) {
    const MatrixView<const float> part =
        x.slice(0, begin, std::min(kernels::gram_tokens, x.rows() - begin));
    const kernels::PackedRows<float> packed(kernel, part.transposed(), execution.parallel_for);
    execution.parallel_for(static_cast<Index>(corners.size()), [&](Index block) {
      const auto [i, j] = corners[static_cast<std::size_t>(block)];
      kernels::gram_block(kernel, packed, part, i, std::min(height, n - i), j,
                          std::min(width, n - j), h);
    });
  }
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
