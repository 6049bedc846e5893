#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/kernels/layout/packed_sections.hpp"

/// What packed bytes must satisfy before kernels read them.
namespace pare::kernels {

/// Throws ShapeError for another number of bytes, ArgumentError when they are not aligned.
inline void check_packed_bytes(std::string_view name, const PackedShape& shape, Index size_bytes,
                               std::span<const std::byte> bytes) {
  if (static_cast<Index>(bytes.size()) != size_bytes)
    throw ShapeError(std::string(name) + " of shape " +
                     to_string(Shape<2>{shape.rows, shape.cols}) + " is packed in " +
                     std::to_string(size_bytes) + " bytes, not in " + std::to_string(bytes.size()));
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % tensor_alignment_bytes != 0)
    throw ArgumentError("packed bytes are not aligned to " +
                        std::to_string(tensor_alignment_bytes));
}

/// Throws ArgumentError when an order does not hold each of `cols` columns at most once.
inline void check_column_order(std::span<const std::int32_t> order, Index cols) {
  std::vector<bool> seen(order.size());
  for (std::size_t p = 0; p < seen.size(); ++p) {
    const std::int32_t column = order[p];
    if (column < 0 || column >= cols || seen[static_cast<std::size_t>(column)])
      throw ArgumentError("position " + std::to_string(p) + " of the column order holds column " +
                          std::to_string(column) + " of " + std::to_string(cols) +
                          ", outside or a second time");
    seen[static_cast<std::size_t>(column)] = true;
  }
}

/// Throws ArgumentError for a zero point beyond the largest of a format.
inline void check_zero_points(std::span<const std::uint8_t> zero_points, int largest) {
  for (std::size_t i = 0; i < zero_points.size(); ++i)
    if (zero_points[i] > largest)
      throw ArgumentError("packed zero point " + std::to_string(i) + " is " +
                          std::to_string(zero_points[i]) + ", beyond " + std::to_string(largest));
}

/// Throws ArgumentError for a scale that is no finite number.
inline void check_scales(std::span<const std::byte> scales, ScaleType type) {
  const auto check = [&]<class Stored>(Stored stored) {
    for (std::size_t i = 0; i < scales.size() / sizeof(stored); ++i) {
      std::memcpy(&stored, scales.data() + i * sizeof(stored), sizeof(stored));
      if (!is_finite(static_cast<float>(stored)))
        throw ArgumentError("packed scale " + std::to_string(i) + " is not finite");
    }
  };
  if (type == ScaleType::f32)
    check(float{});
  else if (type == ScaleType::f16)
    check(Float16{});
  else
    check(BFloat16{});
}

/// The same for parameters that a format stores itself, those of blocks or of the tensor.
template <StoresOwnParameters F>
void check_parameters(std::span<const std::byte> records, FieldScope scope) {
  const auto size = static_cast<std::size_t>(F::stored.bytes(scope));
  for (std::size_t i = 0; size > 0 && i < records.size() / size; ++i) {
    typename F::Parameters parameters{};
    load_parameters<F>(records.data() + i * size, scope, parameters);
    F::stored.for_each(scope, [&](const auto& field) {
      if (!is_finite(static_cast<double>(parameters.*field.member)))
        throw ArgumentError("packed parameter " + std::to_string(i) + " of \"" +
                            std::string(field.name) + "\" is not finite");
    });
  }
}

/// The elements of a section; empty without any.
template <class T>
[[nodiscard]] std::span<const T> section_of(std::span<const std::byte> bytes,
                                            const Section& section) noexcept {
  if (section.size_bytes == 0) return {};
  return {reinterpret_cast<const T*>(bytes.data() + section.offset_bytes),
          static_cast<std::size_t>(section.size_bytes) / sizeof(T)};
}

}  // namespace pare::kernels
