#pragma once

#include <limits>

#include "pare/formats/int.hpp"
#include "pare/kernels/layout/packed_sections.hpp"
#include "pare/kernels/layout/sparse_layout.hpp"

namespace pare::kernels {

/// Where the parts of a sparse matrix lie in its bytes: in this order, each on a cache line, with
/// zeros between them. The same in memory and in files.
///
///     first blocks  [strips + 1]            i64, with blocks
///     codes         as the layout says
///     quads         [blocks]                u16, with blocks
///     compensation  [strips][channels]      i32, with blocks
///     scales        [panels][groups][16]    scale type
///     row sums      [rows]                  f32
///     column order  [cols]                  i32, with a column order
struct SparseSections {
  Index strips = 0;
  Index groups = 0;       ///< in a row
  Index units = 0;        ///< of 8 columns in a row
  Index group_units = 1;  ///< of a full group
  Index strip_bytes = 0;  ///< of codes, without blocks
  Section first_blocks, codes, quads, compensation, scales, row_sums, column_order;
  Index size_bytes = 0;

  /// A block is `channels` by four columns.
  [[nodiscard]] Index most_blocks() const noexcept { return strips * units * 2; }
  friend bool operator==(const SparseSections&, const SparseSections&) = default;
};

/// Most columns, with padding, of which 16 bits say which four it is.
inline constexpr Index max_block_cols = Index{4} << 16;

/// `blocks`: kept in all strips.
/// Errors    those of packed_sections; ShapeError for a number of blocks that the shape does not
///           have, and for blocks in more than max_block_cols columns
template <SparseLayout L>
[[nodiscard]] SparseSections sparse_sections(const PackedShape& shape, Index blocks) {
  const PackedSections dense = packed_sections<Int<8>>(shape);
  SparseSections sections;
  sections.strips = ceil_div(shape.rows, L::channels);
  sections.groups = dense.groups;
  sections.units = dense.units;
  sections.group_units = dense.group_units;
  if (shape.cols > 0) {
    const Index length = shape.group_length(), last = shape.cols - (dense.groups - 1) * length;
    sections.strip_bytes = L::strip_bytes((dense.groups - 1) * round_up(length, L::columns) +
                                          round_up(last, L::columns));
  }
  if (L::has_blocks &&
      (sections.units * 8 > max_block_cols || blocks < 0 || blocks > sections.most_blocks()))
    throw ShapeError(std::string(L::name) + " of shape " +
                     to_string(Shape<2>{shape.rows, shape.cols}) + " cannot have " +
                     std::to_string(blocks) + " blocks");
  const auto place = [&](Section& section, Index size_bytes) {
    section = {sections.size_bytes, size_bytes};
    sections.size_bytes = round_up(section.end_bytes(), Index{tensor_alignment_bytes});
  };
  place(sections.first_blocks,
        L::has_blocks ? (sections.strips + 1) * Index{sizeof(std::int64_t)} : 0);
  place(sections.codes,
        L::has_blocks ? blocks * L::channels * 4 : sections.strips * sections.strip_bytes);
  place(sections.quads, L::has_blocks ? blocks * Index{sizeof(std::uint16_t)} : 0);
  place(sections.compensation,
        L::has_blocks ? sections.strips * L::channels * Index{sizeof(std::int32_t)} : 0);
  place(sections.scales, dense.scales.size_bytes);
  place(sections.row_sums, dense.row_sums.size_bytes);
  place(sections.column_order, dense.column_order.size_bytes);
  return sections;
}

}  // namespace pare::kernels
