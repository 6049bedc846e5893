#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "pare/core/tensor.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/layout/packed_layout.hpp"

namespace pare {

/// What a packed matrix is, besides its format and its bytes.
struct PackedShape {
  Index rows = 0, cols = 0;
  Index group_size = -1;  ///< as quantized: -1 means the whole row
  ScaleType scale_type = ScaleType::f32;
  bool has_column_order = false;

  [[nodiscard]] Index group_length() const noexcept { return group_size == -1 ? cols : group_size; }
  [[nodiscard]] Index panels() const noexcept { return ceil_div(rows, kernels::panel_channels); }
  friend bool operator==(const PackedShape&, const PackedShape&) = default;
};

namespace kernels {

struct Section {
  Index offset_bytes = 0, size_bytes = 0;
  [[nodiscard]] Index end_bytes() const noexcept { return offset_bytes + size_bytes; }
  friend bool operator==(const Section&, const Section&) = default;
};

/// Where the parts of a packed matrix lie in its bytes: in this order, each on a cache line, with
/// zeros between them. The same in memory and in files.
///
///     codes         [panels][units][words][16]  u32
///     scales        [panels][groups][16]        scale type; or the block fields of a format that
///                                               stores its own parameters, without gaps
///     zero points   [panels][groups][16]        u8, with a zero point
///     tensor        its tensor fields
///     row sums      [rows]                      f32
///     column order  [cols]                      i32, with a column order
struct PackedSections {
  Index groups = 0;       ///< in a row
  Index units = 0;        ///< of codes in a row
  Index group_units = 1;  ///< of a full group
  Section codes, scales, zero_points, tensor, row_sums, column_order;
  Index size_bytes = 0;

  friend bool operator==(const PackedSections&, const PackedSections&) = default;
};

/// What decides the sizes of a format: columns and words of a unit of codes, zero points, and bytes
/// of parameters that the format stores itself.
struct PackedUnits {
  Index unit, unit_words;
  bool has_zero_point;
  Index record_bytes = 0, tensor_bytes = 0;
};

/// Errors    ArgumentError for a group size that QuantizedMatrix does not have; ShapeError for
///           negative extents and for more than 2^31 - 1 rows or columns or 2^50 units
[[nodiscard]] inline PackedSections packed_sections(const PackedShape& shape,
                                                    const PackedUnits& codes) {
  constexpr Index most = std::numeric_limits<std::int32_t>::max(), most_units = Index{1} << 50;
  const auto check = [&](bool holds) {
    if (!holds)
      throw ShapeError("a matrix of shape " + to_string(Shape<2>{shape.rows, shape.cols}) +
                       " cannot be packed");
  };
  check(shape.rows >= 0 && shape.rows <= most && shape.cols >= 0 && shape.cols <= most);
  PackedSections sections;
  const Index groups = pare::detail::group_count(shape.cols, shape.group_size);
  const Index length = shape.group_length();
  sections.groups = groups;
  if (shape.cols > 0) {
    sections.group_units = ceil_div(length, codes.unit);
    const Index last = shape.cols - (groups - 1) * length;
    sections.units = (groups - 1) * sections.group_units + ceil_div(last, codes.unit);
  }
  const Index panel_units = shape.panels() * sections.units;
  const Index parameters = shape.panels() * groups * panel_channels;
  check(panel_units <= most_units);
  const auto place = [&](Section& section, Index size_bytes) {
    section = {sections.size_bytes, size_bytes};
    sections.size_bytes = round_up(section.end_bytes(), Index{tensor_alignment_bytes});
  };
  place(sections.codes, panel_units * codes.unit_words * Index{sizeof(std::uint32_t)});
  const bool own = codes.record_bytes + codes.tensor_bytes > 0;
  place(sections.scales,
        own ? parameters * codes.record_bytes : parameters * bits(shape.scale_type) / 8);
  place(sections.zero_points, codes.has_zero_point && !own ? parameters : 0);
  place(sections.tensor, codes.tensor_bytes);
  place(sections.row_sums, shape.rows * Index{sizeof(float)});
  place(sections.column_order,
        shape.has_column_order ? shape.cols * Index{sizeof(std::int32_t)} : 0);
  return sections;
}

/// 0 where the library stores them.
template <Format F>
[[nodiscard]] constexpr Index record_bytes([[maybe_unused]] FieldScope scope) noexcept {
  if constexpr (StoresOwnParameters<F>)
    return F::stored.bytes(scope);
  else
    return 0;
}

template <Format F>
[[nodiscard]] PackedSections packed_sections(const PackedShape& shape) {
  using Codes = packed_codes<F>;
  return packed_sections(
      shape, {Codes::unit, Codes::unit_words, F::has_zero_point, record_bytes<F>(FieldScope::block),
              record_bytes<F>(FieldScope::tensor)});
}

}  // namespace kernels

}  // namespace pare
