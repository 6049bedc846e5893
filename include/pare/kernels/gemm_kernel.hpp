#pragma once

#include <algorithm>
#include <array>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// Terms of a sum that stay in registers before they are added to C: 1 KiB of a row, so that a
/// packed panel of B fits a first-level cache beside the rows of A that stream past it. Part of
/// the result: sums are cut here whatever the shape, kernel or number of threads.
template <class T>
inline constexpr Index gemm_depth = 1024 / static_cast<Index>(sizeof(T));

/// A register tile.
template <class T>
struct GemmTile {
  Index rows = 0;
  /// c += alpha a b: a (rows, depth) with row stride gemm_depth and depth at most that;
  /// b (depth, panel_cols) dense, 64-byte aligned; c (rows, panel_cols).
  void (*run)(Index depth, T alpha, const T* a, const T* b, T* c,
              Index c_stride) noexcept = nullptr;
};

/// What an instruction set contributes to a blocked matrix product.
template <class T>
struct GemmKernel {
  /// Columns of a panel of B.
  Index panel_cols;
  /// Tallest first; the last one in use has one row.
  std::array<GemmTile<T>, 5> tiles;
  /// dst(j, i) = src(i, j) for src (strip_rows, cols); strides are those of rows.
  Index strip_rows;
  void (*transpose_strip)(Index cols, const T* src, Index src_stride, T* dst,
                          Index dst_stride) noexcept;
};

/// c (rows, panel_cols) += alpha a b, with as few tiles as the kernel's heights allow.
template <class T>
void multiply_panel(const GemmKernel<T>& kernel, Index rows, Index depth, T alpha, const T* a,
                    const T* b, T* c, Index c_stride) noexcept {
  for (const GemmTile<T>& tile : kernel.tiles)
    for (; rows > 0 && rows >= tile.rows; rows -= tile.rows) {
      tile.run(depth, alpha, a, b, c, c_stride);
      a += tile.rows * gemm_depth<T>;
      c += tile.rows * c_stride;
    }
}

/// Copies a (rows, cols) block of any strides to rows of unit stride, `dst_stride` apart.
template <class T>
void gather_block(const GemmKernel<T>& kernel, Index rows, Index cols, const T* src,
                  Index row_stride, Index col_stride, T* dst, Index dst_stride) noexcept {
  Index done = 0;
  if (col_stride != 1 && row_stride == 1)
    for (; done + kernel.strip_rows <= cols; done += kernel.strip_rows)
      kernel.transpose_strip(rows, src + done * col_stride, col_stride, dst + done, dst_stride);
  for (Index i = 0; i < rows; ++i) {
    const T* from = src + i * row_stride;
    T* to = dst + i * dst_stride;
    if (col_stride == 1)
      std::copy_n(from, cols, to);
    else
      for (Index j = done; j < cols; ++j) to[j] = from[j * col_stride];
  }
}

}  // namespace pare::kernels
