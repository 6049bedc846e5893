#pragma once

#include <algorithm>

#include "pare/core/parallel.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/contract/gemm.hpp"
#include "pare/kernels/gemm/block.hpp"

namespace pare::kernels {

/// All of A in the order in which tiles read it: depth by depth, rows of gemm_depth terms.
template <class T>
class PackedRows {
 public:
  template <class C>
  PackedRows(const GemmKernel<T, C>& kernel, MatrixView<const T> a, const ParallelFor& parallel_for)
      : rows_(a.rows()), memory_(a.rows() * round_up(a.cols(), gemm_depth<T>)) {
    constexpr Index piece = Index{1} << 16;  // elements that are worth another thread
    const Index pieces = std::clamp<Index>(a.size() / piece, 1, rows_);
    parallel_for(pieces, [&](Index p) {
      const Index begin = rows_ * p / pieces, end = rows_ * (p + 1) / pieces;
      for (Index k = 0; k < a.cols(); k += gemm_depth<T>)
        pack_rows(kernel,
                  a.slice(0, begin, end - begin).slice(1, k, std::min(gemm_depth<T>, a.cols() - k)),
                  memory_.data() + k * rows_ + begin * gemm_depth<T>);
    });
  }

  /// Row `i` of the terms from k on, a multiple of gemm_depth.
  [[nodiscard]] const T* at(Index i, Index k) const noexcept {
    return memory_.data() + k * rows_ + i * gemm_depth<T>;
  }

 private:
  Index rows_;
  GemmScratch<T> memory_;
};

/// c += alpha a b where c has so few rows that tiles as wide as b pay: those columns of b that
/// `c` has, from j0 on. Packs them on the way.
template <class T>
void multiply_few_rows(const GemmKernel<T>& kernel, T alpha, const PackedRows<T>& a,
                       MatrixView<const T> b, Index j0, MatrixView<T> c) {
  constexpr Index depth = gemm_depth<T>;
  const Index rows = c.rows(), panel = kernel.panel_cols, cols = round_up(c.cols(), panel);
  const GemmScratch<T> scratch(panel * depth + rows * cols);
  const MatrixView<T> sums(scratch.data() + panel * depth, {rows, cols});
  std::fill_n(sums.data(), sums.size(), T(0));
  for (Index k = 0; k < b.rows(); k += depth) {
    const Index length = std::min(depth, b.rows() - k);
    for (Index j = 0; j < c.cols(); j += panel) {
      const Index width = std::min(panel, c.cols() - j);
      pack_panel(kernel, b.slice(0, k, length).slice(1, j0 + j, width), scratch.data());
      // The panel on the right, or the next terms of the first.
      const bool last = j + panel >= c.cols();
      const Index next_k = last ? k + depth : k, next_j = last ? j0 : j0 + j + panel;
      GemmNext<T> next;
      if (next_k < b.rows())
        next = b.slice(0, next_k, std::min(depth, b.rows() - next_k))
                   .slice(1, next_j, std::min(panel, b.cols() - next_j));
      multiply_panels(
          kernel, length, T(1), [&](Index i, Index) { return a.at(i, k); },
          [&](Index) { return scratch.data(); }, sums.slice(1, j, panel), next);
    }
  }
  add_sums(kernel, alpha, {sums.data(), c.shape(), sums.strides()}, c);
}

/// c += alpha a b, blocks of columns in parallel. No extent is 0.
template <class T>
void gemm_few_rows(const GemmKernel<T>& kernel, T alpha, MatrixView<const T> a,
                   MatrixView<const T> b, MatrixView<T> c, const ParallelFor& parallel_for) {
  constexpr Index width = gemm_block_cols / 2;
  const PackedRows<T> packed(kernel, a, parallel_for);
  const Index blocks = ceil_div(c.cols(), width);
  const Index grain = ceil_div(parallel_grain, c.rows() * width * a.cols());
  parallel_for(ceil_div(blocks, grain), [&](Index share) {
    for (Index block = share * grain; block < std::min(blocks, (share + 1) * grain); ++block) {
      const Index j = block * width;
      multiply_few_rows(kernel, alpha, packed, b, j, c.slice(1, j, std::min(width, c.cols() - j)));
    }
  });
}

}  // namespace pare::kernels
