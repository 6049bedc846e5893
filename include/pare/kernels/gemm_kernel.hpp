#pragma once

#include <algorithm>
#include <array>

#include "pare/core/index.hpp"

namespace pare::kernels {

inline constexpr Index gemm_depth_bytes = 1024;

/// Terms of a sum that stay in registers before they are added to C: 1 KiB of a row, so that a
/// packed panel of B fits a first-level cache beside the rows of A that stream past it. Part of
/// the result: sums are cut here whatever the shape, kernel or number of threads.
template <class T>
inline constexpr Index gemm_depth = gemm_depth_bytes / static_cast<Index>(sizeof(T));

/// Memory that is read soon, which a tile asks for while it computes, so that waiting for memory
/// hides behind arithmetic: two cache lines at each of several rows, one row per `mask` + 1 terms.
struct GemmAhead {
  const char* first = nullptr;
  Index stride_bytes = 0;
  Index mask = 7;

  static constexpr Index line_bytes = 64;
};

/// A register tile of some number of rows.
///
/// c += alpha a b: a (rows, depth) with row stride gemm_depth and depth at most that, which the
/// next tile's rows follow; b (depth, panel_cols) dense, 64-byte aligned; c (rows, panel_cols), of
/// T or wider.
template <class T, class C = T>
using GemmTile = void (*)(Index depth, T alpha, const T* a, const T* b, C* c, Index c_stride,
                          GemmAhead ahead) noexcept;

/// What an instruction set contributes to a blocked matrix product.
template <class T, class C = T>
struct GemmKernel {
  static constexpr Index max_tile_rows = 14;

  /// Columns of a panel of B.
  Index panel_cols;
  /// tiles[h - 1] has h rows, 1 <= h <= tile_rows.
  Index tile_rows;
  std::array<GemmTile<T, C>, max_tile_rows> tiles;
  /// c += alpha sums, rounded as a tile rounds it.
  void (*add_rows)(Index rows, Index cols, T alpha, const T* sums, Index sums_stride, T* c,
                   Index c_stride) noexcept;
  /// dst(j, i) = src(i, j) for src (strip_rows, cols); strides are those of rows.
  Index strip_rows;
  void (*transpose_strip)(Index cols, const T* src, Index src_stride, T* dst,
                          Index dst_stride) noexcept;
};

/// The block of B that is packed next; none without data.
template <class T>
struct GemmNext {
  const T* data = nullptr;
  Index row_stride = 0, col_stride = 0;

  /// What tile `t` of a panel asks for: from eight tiles on, all of them cover the block.
  [[nodiscard]] GemmAhead ahead(Index t, Index tiles, Index panel_cols) const noexcept {
    if (!data) return {};
    constexpr Index pair = 2 * GemmAhead::line_bytes / static_cast<Index>(sizeof(T));
    const Index parts = tiles < 16 ? 1 : 2, interval = 8 * parts;
    const bool terms_are_rows = col_stride == 1;
    const Index offset = terms_are_rows ? t * (gemm_depth<T> / interval) * row_stride
                                        : t / parts * pair * row_stride +
                                              t % parts * (panel_cols / parts) * col_stride;
    return {reinterpret_cast<const char*>(data + offset),
            (terms_are_rows ? row_stride : col_stride) * static_cast<Index>(sizeof(T)),
            interval - 1};
  }
};

/// c (rows, panel_cols) += alpha a b, with tiles of equal heights but for one row: a low tile
/// costs nearly as much as a tall one.
template <class T, class C>
void multiply_panel(const GemmKernel<T, C>& kernel, Index rows, Index depth, T alpha, const T* a,
                    const T* b, C* c, Index c_stride, const GemmNext<T>& next = {}) noexcept {
  const Index tiles = ceil_div(rows, kernel.tile_rows);
  for (Index t = 0; t < tiles; ++t) {
    const Index i = rows * t / tiles, height = rows * (t + 1) / tiles - i;
    kernel.tiles[static_cast<std::size_t>(height - 1)](depth, alpha, a + i * gemm_depth<T>, b,
                                                       c + i * c_stride, c_stride,
                                                       next.ahead(t, tiles, kernel.panel_cols));
  }
}

/// Copies a (rows, cols) block of any strides to rows of unit stride, `dst_stride` apart.
template <class T, class C>
void gather_block(const GemmKernel<T, C>& kernel, Index rows, Index cols, const T* src,
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
