#pragma once

#include <algorithm>
#include <numeric>

#include "pare/core/parallel.hpp"
#include "pare/core/tensor_view.hpp"
#include "pare/kernels/gemm/block.hpp"

namespace pare::kernels {

/// Operands that are triangular. A product skips what is surely zero: the other side of the
/// diagonal of a and b. Of c only the blocks on or above the diagonal are brought up to date.
struct GemmParts {
  bool a_upper = false, a_lower = false, b_upper = false, b_lower = false, c_upper = false;
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
    const bool uneven =
        parts.a_upper || parts.a_lower || parts.b_upper || parts.b_lower || parts.c_upper;
    const Index stride = uneven ? scattering_stride(blocks) : 1;
    parallel_for(ceil_div(blocks, grain), [&](Index share) {
      for (Index step = share * grain; step < std::min(blocks, (share + 1) * grain); ++step) {
        const Index block = step * stride % blocks;
        const Index i = block % down * rows, j = block / down * width;
        const Index right = std::min(cols, j + width), bottom = std::min(c.rows(), i + rows);
        const Index height = (parts.c_upper ? std::min(bottom, left + right) : bottom) - i;
        GemmTerms needed = terms(j);
        if (parts.a_upper) needed.begin = std::max(needed.begin, i / gemm_depth<T> * gemm_depth<T>);
        if (parts.a_lower) needed.end = std::min(needed.end, bottom);
        if (height > 0 && needed.begin < needed.end)
          multiply_block(kernel, alpha, a, i, packed, j, needed,
                         c.slice(0, i, height).slice(1, left + j, right - j));
      }
    });
  }
}

}  // namespace pare::kernels
