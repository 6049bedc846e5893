#pragma once

#include <algorithm>
#include <cstddef>

#include "pare/core/huge_page_memory.hpp"
#include "pare/core/parallel.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/contract/gemm.hpp"

namespace pare::kernels {

/// About the largest block of C that one thread computes at a time. For gemm_depth terms its share
/// of A, B and C, packed, fits a second-level cache: 0.5 MiB.
inline constexpr Index gemm_block_rows = 140, gemm_block_cols = 256;

/// An array without initial contents: zeroing would cost as much as packing.
template <class T>
class GemmScratch {
 public:
  explicit GemmScratch(Index size) : memory_(static_cast<std::size_t>(size) * sizeof(T)) {}
  [[nodiscard]] T* data() const noexcept { return reinterpret_cast<T*>(memory_.data()); }

 private:
  mutable HugePageMemory memory_;
};

/// Rows of a block when `rows` are cut evenly: into a multiple of eight, if that many, so that
/// threads get equal shares.
[[nodiscard]] inline Index gemm_rows_per_block(Index rows) noexcept {
  const Index blocks = ceil_div(rows, gemm_block_rows);
  return ceil_div(rows, blocks < 8 ? blocks : round_up(blocks, 8));
}

/// Packs a (rows, terms) block of A for tiles, terms at most gemm_depth; `to` has gemm_depth
/// elements per row.
template <class T, class C>
void pack_rows(const GemmKernel<T, C>& kernel, MatrixView<const T> a, T* to) noexcept {
  gather_block(kernel, a.rows(), a.cols(), a.data(), a.stride(0), a.stride(1), to, gemm_depth<T>);
}

/// Packs a panel of B, at most panel_cols columns.
template <class T, class C>
void pack_panel(const GemmKernel<T, C>& kernel, MatrixView<const T> b, T* to) noexcept {
  // Sums of the columns beyond are dropped, but denormal numbers would slow them.
  if (b.cols() < kernel.panel_cols) std::fill_n(to, kernel.panel_cols * b.rows(), T(0));
  gather_block(kernel, b.rows(), b.cols(), b.data(), b.stride(0), b.stride(1), to,
               kernel.panel_cols);
}

/// Terms [begin, end) of a sum.
struct GemmTerms {
  Index begin, end;
};

/// All of B in the order in which tiles read it: panel by panel. `terms(j)` are those that block
/// column j needs, a multiple of gemm_block_cols; the rest is left out.
template <class T>
class PackedColumns {
 public:
  template <class C, class Terms>
  PackedColumns(const GemmKernel<T, C>& kernel, MatrixView<const T> b, Terms terms,
                const ParallelFor& parallel_for)
      : depth_(b.rows()), memory_(b.rows() * round_up(b.cols(), kernel.panel_cols)) {
    const Index panel = kernel.panel_cols, panels = ceil_div(b.cols(), panel);
    constexpr Index piece = Index{1} << 16;  // elements that are worth another thread
    const Index grain = ceil_div(piece, panel * depth_);
    parallel_for(ceil_div(panels, grain), [&](Index share) {
      for (Index p = share * grain; p < std::min(panels, (share + 1) * grain); ++p) {
        const Index j = p * panel;
        const GemmTerms needed = terms(j / gemm_block_cols * gemm_block_cols);
        for (Index k = needed.begin; k < needed.end; k += gemm_depth<T>)
          pack_panel(kernel,
                     b.slice(0, k, std::min(gemm_depth<T>, needed.end - k))
                         .slice(1, j, std::min(panel, b.cols() - j)),
                     memory_.data() + j * depth_ + k * panel);
      }
    });
  }

  /// The panels from column j on, a multiple of panel_cols, and from term k on.
  [[nodiscard]] auto panels(Index k, Index j, Index panel_cols) const noexcept {
    return [first = memory_.data() + j * depth_ + k * panel_cols,
            size = panel_cols * depth_](Index p) { return first + p * size; };
  }

 private:
  Index depth_;
  GemmScratch<T> memory_;
};

/// c (any strides) += alpha sums
template <class T>
void add_sums(const GemmKernel<T>& kernel, T alpha, MatrixView<const T> sums, MatrixView<T> c) {
  if (c.stride(1) == 1)
    return kernel.add_rows(c.rows(), c.cols(), alpha, sums.data(), sums.stride(0), c.data(),
                           c.stride(0));
  if (c.stride(0) == 1) {
    const GemmScratch<T> turned(c.size());
    gather_block(kernel, c.cols(), c.rows(), sums.data(), 1, sums.stride(0), turned.data(),
                 c.rows());
    return kernel.add_rows(c.cols(), c.rows(), alpha, turned.data(), c.rows(), c.data(),
                           c.stride(1));
  }
  for (Index i = 0; i < c.rows(); ++i)
    for (Index j = 0; j < c.cols(); ++j) kernel.add_rows(1, 1, alpha, &sums(i, j), 0, &c(i, j), 0);
}

/// c += alpha a b for a block of C that one thread computes: the rows of a from i on, the columns
/// of b from j on and the terms given, which begin with a multiple of gemm_depth and are not none.
/// Sums of several depths are added up aside, in dense memory: rows of C often compete for the
/// same places in a cache.
template <class T>
void multiply_block(const GemmKernel<T>& kernel, T alpha, MatrixView<const T> a, Index i,
                    const PackedColumns<T>& b, Index j, GemmTerms terms, MatrixView<T> c) {
  constexpr Index depth = gemm_depth<T>;
  const Index rows = c.rows(), cols = round_up(c.cols(), kernel.panel_cols);
  const bool in_place = terms.end - terms.begin <= depth && c.cols() == cols && c.stride(1) == 1;
  const MatrixView<const T> block = a.slice(0, i, rows);
  const bool contiguous = a.stride(1) == 1, packed = contiguous && a.stride(0) == depth;
  // Contiguous rows are packed for one tile at a time: what was copied stays in L1 until read.
  const Index packed_rows = packed ? 0 : contiguous ? std::min(rows, kernel.tile_rows) : rows;
  const GemmScratch<T> scratch(packed_rows * depth + (in_place ? 0 : rows * cols));
  const MatrixView<T> sums =
      in_place ? c : MatrixView<T>(scratch.data() + packed_rows * depth, {rows, cols});
  if (!in_place) std::fill_n(sums.data(), sums.size(), T(0));

  for (Index k = terms.begin; k < terms.end; k += depth) {
    const Index length = std::min(depth, terms.end - k);
    const MatrixView<const T> part = block.slice(1, k, length);
    if (!contiguous) pack_rows(kernel, part, scratch.data());
    const auto rows_of_a = [&](Index first, Index height) -> const T* {
      if (packed) return &part(first, 0);
      if (!contiguous) return scratch.data() + first * depth;
      pack_rows(kernel, part.slice(0, first, height), scratch.data());
      return scratch.data();
    };
    // What is packed next: the following depth or, most likely, the block below.
    const bool last = k + depth >= terms.end;
    const Index next_i = last ? i + rows : i, next_k = last ? terms.begin : k + depth;
    GemmNext<T> next;
    if (next_i < a.rows())
      next = a.slice(0, next_i, std::min(rows, a.rows() - next_i))
                 .slice(1, next_k, std::min(depth, a.cols() - next_k));
    multiply_panels(kernel, length, in_place ? alpha : T(1), rows_of_a,
                    b.panels(k, j, kernel.panel_cols), sums, next,
                    (next_k - k) * kernel.panel_cols);
  }
  if (!in_place) add_sums(kernel, alpha, {sums.data(), c.shape(), sums.strides()}, c);
}

}  // namespace pare::kernels
