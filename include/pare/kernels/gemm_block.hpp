#pragma once

#include <algorithm>
#include <cstddef>

#include "pare/core/tensor.hpp"
#include "pare/kernels/gemm_kernel.hpp"

namespace pare::kernels {

/// Blocks of C have about this many rows and columns: each packed element serves as many
/// products, and a packed block of A (256 KiB) stays in a second-level cache.
inline constexpr Index gemm_block = 256;

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

/// The columns [j, j + width) of C that one panel of B reaches. Tiles write whole rows of
/// panel_cols elements: where C has no such rows they write `aside` instead.
template <class T>
class GemmTarget {
 public:
  GemmTarget(MatrixView<T> c, Index j, Index width, Index panel_cols, T* aside)
      : part_(c.slice(1, j, width)), panel_cols_(panel_cols), aside_(aside) {
    if (in_place()) return;
    std::fill_n(aside_, c.rows() * panel_cols_, T(0));
    copy(MatrixView<const T>(part_), aside_view());
  }

  /// Puts what was written aside into C.
  void finish() const {
    if (!in_place()) copy(MatrixView<const T>(aside_view()), part_);
  }

  [[nodiscard]] T* data() const noexcept { return in_place() ? part_.data() : aside_; }
  [[nodiscard]] Index stride() const noexcept { return in_place() ? part_.stride(0) : panel_cols_; }

 private:
  [[nodiscard]] bool in_place() const noexcept {
    return part_.cols() == panel_cols_ && part_.stride(1) == 1;
  }
  [[nodiscard]] MatrixView<T> aside_view() const {
    return {aside_, part_.shape(), {panel_cols_, 1}};
  }

  MatrixView<T> part_;
  Index panel_cols_;
  T* aside_;
};

/// c += alpha a b for the block of C that one thread computes; no extent is 0.
template <class T>
void gemm_block_product(const GemmKernel<T>& kernel, T alpha, MatrixView<const T> a,
                        MatrixView<const T> b, MatrixView<T> c) {
  constexpr Index depth = gemm_depth<T>;
  const Index rows = a.rows(), terms = a.cols(), panel = kernel.panel_cols;
  // A block of few rows is packed for many depths at once, so that columns of B are read through.
  const Index depths = std::max<Index>(1, gemm_block / rows);
  const Index span = std::min(depths, ceil_div(terms, depth)) * depth;
  const GemmScratch<T> scratch(rows * span + panel * depth + rows * panel);
  T* const packed_a = scratch.data();
  T* const packed_b = packed_a + rows * span;
  T* const aside = packed_b + panel * depth;

  for (Index k0 = 0; k0 < terms; k0 += span) {
    const Index k1 = std::min(terms, k0 + span);
    for (Index k = k0; k < k1; k += depth)
      gather_block(kernel, rows, std::min(depth, k1 - k), &a(0, k), a.stride(0), a.stride(1),
                   packed_a + (k - k0) * rows, depth);
    for (Index j = 0; j < b.cols(); j += panel) {
      const Index width = std::min(panel, b.cols() - j);
      const GemmTarget<T> target(c, j, width, panel, aside);
      for (Index k = k0; k < k1; k += depth) {
        const Index length = std::min(depth, k1 - k);
        // Sums of the columns beyond are dropped, but denormal numbers would slow them.
        if (width < panel) std::fill_n(packed_b, panel * length, T(0));
        gather_block(kernel, length, width, &b(k, j), b.stride(0), b.stride(1), packed_b, panel);
        multiply_panel(kernel, rows, length, alpha, packed_a + (k - k0) * rows, packed_b,
                       target.data(), target.stride());
      }
      target.finish();
    }
  }
}

}  // namespace pare::kernels
