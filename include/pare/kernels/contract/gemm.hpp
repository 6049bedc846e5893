#pragma once

#include <algorithm>
#include <array>

#include "pare/core/index.hpp"
#include "pare/core/tensor_view.hpp"

namespace pare::kernels {

inline constexpr Index gemm_depth_bytes = 1024;

/// Terms of a sum that stay in registers before they are added to C: 1 KiB of a row, so that the
/// rows of A of a tile fit a first-level cache beside the panels of B that stream past them. Part
/// of the result: sums are cut here whatever the shape, kernel or number of threads.
template <class T>
inline constexpr Index gemm_depth = gemm_depth_bytes / static_cast<Index>(sizeof(T));

/// Memory that is read soon, which a tile asks for while it computes, so that waiting for memory
/// hides behind arithmetic: two cache lines at each of several rows, one row per `mask` + 1 terms,
/// and one line per `panel_interval` terms of a panel of B. All of it may be read by anyone.
struct GemmAhead {
  const char* first;
  Index stride_bytes, mask;
  const char* panel;

  static constexpr Index line_bytes = 64, panel_interval = 4;
};

/// A register tile of some number of rows.
///
/// c += alpha a b: a (rows, depth) with row stride gemm_depth and depth at most that; b (depth,
/// panel_cols) dense, 64-byte aligned, which the next panel follows; c (rows, panel_cols), of T or
/// wider.
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

/// The rectangle of memory that is packed next: `lines` of `length` elements without gaps. Empty
/// without data.
template <class T>
struct GemmNext {
  const T* data = nullptr;
  Index line_stride = 0, lines = 0, length = 0;

  GemmNext() = default;
  GemmNext(MatrixView<const T> m)
      : data(m.data()),
        line_stride(m.stride(m.stride(1) == 1 ? 0 : 1)),
        lines(m.shape()[m.stride(1) == 1 ? 0 : 1]),
        length(m.shape()[m.stride(1) == 1 ? 1 : 0]) {}

  /// What the `t`-th of `tiles` tiles asks for: together they cover the rectangle when they can.
  /// `panel` and what there is to ask for otherwise, a hot line, are passed on.
  [[nodiscard]] GemmAhead ahead(Index t, Index tiles, const T* panel, const T* hot) const noexcept {
    constexpr Index pair = 2 * GemmAhead::line_bytes / static_cast<Index>(sizeof(T));
    const Index pairs = ceil_div(length, pair);
    Index interval = 16;  // terms between two requests
    const auto groups = [&] { return ceil_div(lines, gemm_depth<T> / interval); };
    while (interval > 4 && groups() * pairs > tiles) interval /= 2;
    const char* const b = reinterpret_cast<const char*>(panel);
    if (!data || t >= groups() * pairs) return {reinterpret_cast<const char*>(hot), 0, 15, b};
    const Index line = t % groups() * (gemm_depth<T> / interval);
    return {reinterpret_cast<const char*>(data + line * line_stride + t / groups() * pair),
            line_stride * static_cast<Index>(sizeof(T)), interval - 1, b};
  }
};

/// c (rows, panels of b) += alpha a b for one depth, with tiles of equal heights but for one row: a
/// low tile costs nearly as much as a tall one. `rows_of_a(i, height)` are rows of a, packed, which
/// stay in a first-level cache for all panels; `panel(p)` is the p-th one of b. Meanwhile asks for
/// `next` and for what lies `next_panel` elements after each panel.
template <class T, class C, class RowsOfA, class Panel>
void multiply_panels(const GemmKernel<T, C>& kernel, Index depth, T alpha, RowsOfA rows_of_a,
                     Panel panel, MatrixView<C> c, const GemmNext<T>& next = {},
                     Index next_panel = 0) noexcept {
  const Index tiles = ceil_div(c.rows(), kernel.tile_rows), panels = c.cols() / kernel.panel_cols;
  constexpr Index asked = gemm_depth<T> / GemmAhead::panel_interval *
                          (GemmAhead::line_bytes / static_cast<Index>(sizeof(T)));
  for (Index t = 0; t < tiles; ++t) {
    const Index i = c.rows() * t / tiles, height = c.rows() * (t + 1) / tiles - i;
    const GemmTile<T, C> tile = kernel.tiles[static_cast<std::size_t>(height - 1)];
    const T* const a = rows_of_a(i, height);
    for (Index p = 0; p < panels; ++p) {
      const T* const b = panel(p);
      const bool asks = (t + 1) * asked <= gemm_depth<T> * kernel.panel_cols;
      tile(depth, alpha, a, b, &c(i, p * kernel.panel_cols), c.stride(0),
           next.ahead(t * panels + p, tiles * panels,
                      b + (asks ? next_panel : 0) + (asks ? t * asked : 0), a));
    }
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
