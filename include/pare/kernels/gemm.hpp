#pragma once

#include <algorithm>
#include <concepts>
#include <type_traits>

#include "pare/core/config.hpp"
#include "pare/core/tensor_view.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm_block.hpp"
#include "pare/kernels/portable/gemm.hpp"
#include "pare/kernels/reference/gemm.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/gemm_avx2.hpp"
#include "pare/kernels/x86/gemm_avx512.hpp"
#endif

namespace pare {

namespace kernels {

/// Throws ArgumentError when `force` names a kernel that does not exist or cannot run here.
template <class T>
[[nodiscard]] GemmKernel<T> select_gemm_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::gemm_kernel<T>();
    case KernelName::avx2:
      return avx2::gemm_kernel<T>();
#else
  switch (select_kernel(force, {KernelName::portable, KernelName::reference})) {
#endif
    case KernelName::portable:
      return portable::gemm_kernel<T>();
    default:
      return reference::gemm_kernel<T>();
  }
}

}  // namespace kernels

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
  // Panels want columns: (b' a')' has the same sums.
  const bool narrow = c.cols() < c.rows() && c.cols() < kernel.panel_cols;
  if (narrow || (c.stride(1) != 1 && c.stride(0) == 1)) {
    const MatrixView<const T> left = b.transposed();
    b = a.transposed();
    a = left;
    c = c.transposed();
  }
  const Index tile = kernel.tiles[0].rows;
  // Half as many rows as columns: a window of 256 tokens still makes two blocks.
  const Index row_blocks = ceil_div(c.rows(), kernels::gemm_block / 2);
  const Index rows = round_up(ceil_div(c.rows(), row_blocks), tile);
  const Index column_work = std::min(rows, c.rows()) * a.cols();
  const Index cols =
      round_up(std::max(kernels::gemm_block, parallel_grain / column_work), kernels::gemm_block);
  const Index blocks_down = ceil_div(c.rows(), rows), blocks_across = ceil_div(c.cols(), cols);
  execution.parallel_for(blocks_down * blocks_across, [&](Index block) {
    const Index i = block / blocks_across * rows, j = block % blocks_across * cols;
    const Index height = std::min(rows, c.rows() - i), width = std::min(cols, c.cols() - j);
    kernels::gemm_block_product(kernel, alpha, a.slice(0, i, height), b.slice(1, j, width),
                                c.slice(0, i, height).slice(1, j, width));
  });
}

}  // namespace pare
