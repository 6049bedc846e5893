#pragma once

#include <algorithm>
#include <concepts>
#include <type_traits>

#include "pare/core/tensor_view.hpp"
#include "pare/kernels/dispatch/gemm.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm/blocks.hpp"
#include "pare/kernels/gemm/few_rows.hpp"

namespace pare {

/// Adds a matrix product.
///
///     c += alpha a b
///
/// Shapes    a (m, k), b (k, n), c (m, n), any strides: a transpose is a view. With b the
///           transpose of a row-major weight and small m this streams the weight once, at the
///           speed of memory. c overlaps neither a nor b.
/// Errors    ShapeError naming the shapes; ArgumentError for a forced kernel that cannot run
/// Edge      nothing happens when m, n or k is 0; NaN and infinity propagate
/// Accuracy  sums of T, cut every gemm_depth<T> terms
/// Order     an element's value depends on its row of a, its column of b and the kernel alone:
///           not on threads, strides, m or n
template <std::floating_point T>
void gemm(T alpha, std::type_identity_t<MatrixView<const T>> a,
          std::type_identity_t<MatrixView<const T>> b, std::type_identity_t<MatrixView<T>> c,
          const Execution& execution = {}) {
  if (a.cols() != b.rows() || c.rows() != a.rows() || c.cols() != b.cols())
    throw ShapeError("cannot add the product of " + to_string(a.shape()) + " and " +
                     to_string(b.shape()) + " to " + to_string(c.shape()));
  const kernels::GemmKernel<T> kernel = kernels::select_gemm_kernel<T>(execution.force);
  if (a.empty() || b.empty()) return;
  const auto transpose = [&] {
    const MatrixView<const T> left = b.transposed();
    b = a.transposed();
    a = left;
    c = c.transposed();
  };
  // (b' a')' has the same sums.
  if (std::min(c.rows(), c.cols()) < kernel.panel_cols) {
    if (c.cols() < c.rows()) transpose();
    return kernels::gemm_few_rows(kernel, alpha, a, b, c, execution.parallel_for);
  }
  // The smaller operand is packed as a whole; sums of few terms are better added to rows of c.
  const bool by_rows = a.cols() <= kernels::gemm_depth<T> && c.stride(1) != c.stride(0);
  if (by_rows ? c.stride(0) == 1 : c.rows() < c.cols()) transpose();
  kernels::gemm_blocks(kernel, alpha, a, b, c, {}, execution.parallel_for);
}

}  // namespace pare
