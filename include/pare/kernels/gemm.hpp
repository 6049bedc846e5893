#pragma once

#include <algorithm>
#include <concepts>
#include <numeric>
#include <type_traits>

#include "pare/core/config.hpp"
#include "pare/core/tensor_view.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm/block.hpp"
#include "pare/kernels/gemm/few_rows.hpp"
#include "pare/kernels/portable/gemm.hpp"
#include "pare/kernels/reference/gemm.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/avx2/gemm.hpp"
#include "pare/kernels/x86/avx512/gemm.hpp"
#endif

namespace pare {

namespace kernels {

/// The kernel that multiplies matrices of T and adds to one of C. Throws ArgumentError when `force`
/// names a kernel that does not exist or cannot run here.
template <class T, class C = T>
[[nodiscard]] GemmKernel<T, C> select_gemm_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::gemm_kernel<T, C>();
    case KernelName::avx2:
      return avx2::gemm_kernel<T, C>();
#else
  switch (select_kernel(force, {KernelName::portable, KernelName::reference})) {
#endif
    case KernelName::portable:
      return portable::gemm_kernel<T, C>();
    default:
      return reference::gemm_kernel<T, C>();
  }
}

/// Operands that are triangular. A product skips what is surely zero: the other side of the
/// diagonal of a and b. Of c only the blocks on or above the diagonal are brought up to date.
struct GemmParts {
  bool a_upper = false, b_upper = false, b_lower = false, c_upper = false;
};

/// An order of [0, n) in which neighbours are far apart: step i visits i * stride mod n. Work that
/// grows along [0, n) so costs the same in every contiguous share of the steps.
[[nodiscard]] inline Index scattering_stride(Index n) {
  Index stride = std::max<Index>(1, static_cast<Index>(0.618 * static_cast<double>(n)));
  while (std::gcd(stride, n) != 1) ++stride;
  return stride;
}

/// Packed columns of B that are held at once.
inline constexpr Index gemm_packed_bytes = Index{64} << 20;

/// c += alpha a b, with the same sums as the product of all parts. No extent is 0.
template <class T>
void gemm_blocks(const GemmKernel<T>& kernel, T alpha, MatrixView<const T> a, MatrixView<const T> b,
                 MatrixView<T> c, const GemmParts& parts, const ParallelFor& parallel_for) {
  constexpr Index width = gemm_block_cols;
  const Index rows = gemm_rows_per_block(c.rows()), down = ceil_div(c.rows(), rows);
  const Index most = gemm_packed_bytes / static_cast<Index>(sizeof(T)) / b.rows() / width * width;
  const Index stripe = std::clamp(most, width, round_up(c.cols(), width));
  for (Index left = 0; left < c.cols(); left += stripe) {
    const Index cols = std::min(stripe, c.cols() - left), across = ceil_div(cols, width);
    const auto terms = [&](Index j) -> GemmTerms {
      const Index begin = parts.b_lower ? (left + j) / gemm_depth<T> * gemm_depth<T> : 0;
      return {begin, parts.b_upper ? std::min(b.rows(), left + j + width) : b.rows()};
    };
    const PackedColumns<T> packed(kernel, b.slice(1, left, cols), terms, parallel_for);
    const Index blocks = down * across;
    const Index grain = ceil_div(parallel_grain, rows * width * a.cols());
    const bool uneven = parts.a_upper || parts.c_upper || parts.b_lower || parts.b_upper;
    const Index stride = uneven ? scattering_stride(blocks) : 1;
    parallel_for(ceil_div(blocks, grain), [&](Index share) {
      for (Index step = share * grain; step < std::min(blocks, (share + 1) * grain); ++step) {
        const Index block = step * stride % blocks;
        const Index i = block % down * rows, j = block / down * width;
        const Index right = std::min(cols, j + width), bottom = std::min(c.rows(), i + rows);
        const Index height = (parts.c_upper ? std::min(bottom, left + right) : bottom) - i;
        GemmTerms needed = terms(j);
        if (parts.a_upper) needed.begin = std::max(needed.begin, i / gemm_depth<T> * gemm_depth<T>);
        if (height > 0 && needed.begin < needed.end)
          multiply_block(kernel, alpha, a, i, packed, j, needed,
                         c.slice(0, i, height).slice(1, left + j, right - j));
      }
    });
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
