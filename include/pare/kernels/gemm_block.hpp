#pragma once

#include <algorithm>
#include <cstddef>

#include "pare/core/parallel.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/gemm_kernel.hpp"

namespace pare::kernels {

/// The largest block of C that one thread computes at a time. For gemm_depth terms its share of A,
/// B and C, packed, fits a second-level cache: 512 KiB.
inline constexpr Index gemm_block_rows = 256, gemm_block_cols = 128;

/// An array without initial contents, 64-byte aligned: zeroing would cost as much as packing.
template <class T>
class GemmScratch {
 public:
  explicit GemmScratch(Index size)
      : size_(static_cast<std::size_t>(size)), data_(AlignedAllocator<T>().allocate(size_)) {}
  GemmScratch(const GemmScratch&) = delete;
  GemmScratch& operator=(const GemmScratch&) = delete;
  ~GemmScratch() { AlignedAllocator<T>().deallocate(data_, size_); }
  [[nodiscard]] T* data() const noexcept { return data_; }

 private:
  std::size_t size_;
  T* data_;
};

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
        gather_block(kernel, end - begin, std::min(gemm_depth<T>, a.cols() - k), &a(begin, k),
                     a.stride(0), a.stride(1), memory_.data() + k * rows_ + begin * gemm_depth<T>,
                     gemm_depth<T>);
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

/// c (any strides) += alpha sums
template <class T>
void add_sums(const GemmKernel<T>& kernel, T alpha, MatrixView<const T> sums, MatrixView<T> c) {
  if (c.stride(1) == 1)
    return kernel.add_rows(c.rows(), c.cols(), alpha, sums.data(), sums.stride(0), c.data(),
                           c.stride(0));
  for (Index i = 0; i < c.rows(); ++i)
    for (Index j = 0; j < c.cols(); ++j) kernel.add_rows(1, 1, alpha, &sums(i, j), 0, &c(i, j), 0);
}

/// c += alpha a b for a block of C that one thread computes, the columns of b from `j0` on and the
/// terms from `begin`, a multiple of gemm_depth, to `end`; it begins at row `i` of A. No extent is
/// 0. Sums of several depths are added up aside, in dense
/// memory: rows of C often compete for the same places in a cache.
template <class T>
void gemm_block_product(const GemmKernel<T>& kernel, T alpha, const PackedRows<T>& a, Index i,
                        MatrixView<const T> b, Index j0, Index begin, Index end, MatrixView<T> c) {
  constexpr Index depth = gemm_depth<T>;
  const Index rows = c.rows(), panel = kernel.panel_cols;
  const Index packed_cols = round_up(c.cols(), panel);
  const bool in_place = end - begin <= depth && c.cols() == packed_cols && c.stride(1) == 1;
  const GemmScratch<T> scratch(packed_cols * (depth + (in_place ? 0 : rows)));
  T* const packed_b = scratch.data();
  const MatrixView<T> sums =
      in_place ? c : MatrixView<T>(packed_b + packed_cols * depth, {rows, packed_cols});
  if (!in_place) std::fill_n(sums.data(), sums.size(), T(0));

  for (Index k = begin; k < end; k += depth) {
    const Index length = std::min(depth, end - k);
    for (Index j = 0; j < c.cols(); j += panel) {
      const Index width = std::min(panel, c.cols() - j);
      T* const to = packed_b + j * depth;
      // Sums of the columns beyond are dropped, but denormal numbers would slow them.
      if (width < panel) std::fill_n(to, panel * length, T(0));
      gather_block(kernel, length, width, &b(k, j0 + j), b.stride(0), b.stride(1), to, panel);
    }
    // Next is packed the following depth or, most likely, the block on the right.
    const bool last = k + depth >= end;
    const Index next_k = last ? begin : k + depth, next_j = last ? j0 + c.cols() : j0;
    for (Index j = 0; j < c.cols(); j += panel) {
      GemmNext<T> next;
      if (next_j + j < b.cols()) next = {&b(next_k, next_j + j), b.stride(0), b.stride(1)};
      multiply_panel(kernel, rows, length, in_place ? alpha : T(1), a.at(i, k),
                     packed_b + j * depth, &sums(0, j), sums.stride(0), next);
    }
  }
  if (!in_place) add_sums(kernel, alpha, {sums.data(), c.shape(), sums.strides()}, c);
}

}  // namespace pare::kernels
