#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "pare/kernels/layout/packed_checks.hpp"
#include "pare/kernels/layout/packed_layout.hpp"
#include "pare/kernels/layout/packed_sections.hpp"
#include "pare/kernels/layout/packed_storage.hpp"

namespace pare {

/// The layout of a PackedMatrix, by the side of the sparse ones.
struct DenseLayout {
  static constexpr std::string_view name = "dense";
};

namespace kernels {

/// What a PackedMatrix of any format holds. One that was moved from is empty.
class PackedParts {
 protected:
  PackedParts() = default;
  PackedParts(const PackedShape& shape, const PackedSections& sections, PackedStorage storage)
      : shape_(shape), sections_(sections), storage_(std::move(storage)) {}
  PackedParts(const PackedParts&) = default;
  PackedParts& operator=(const PackedParts&) = default;
  PackedParts(PackedParts&& other) noexcept
      : shape_(std::exchange(other.shape_, {})),
        sections_(std::exchange(other.sections_, {})),
        storage_(std::exchange(other.storage_, {})) {}
  PackedParts& operator=(PackedParts&& other) noexcept {
    shape_ = std::exchange(other.shape_, {});
    sections_ = std::exchange(other.sections_, {});
    storage_ = std::exchange(other.storage_, {});
    return *this;
  }
  ~PackedParts() = default;

  [[nodiscard]] bool equals(const PackedParts& other) const noexcept {
    const std::span<const std::byte> ours = storage_.bytes(), others = other.storage_.bytes();
    return shape_ == other.shape_ &&
           std::equal(ours.begin(), ours.end(), others.begin(), others.end());
  }

  PackedShape shape_;
  PackedSections sections_;
  PackedStorage storage_;
};

}  // namespace kernels

/// A quantized weight in the form that matmul reads: see kernels::PackedCodes for the codes and
/// kernels::PackedSections for the rest. `pack` makes one, load_packed and map_packed read it from
/// a file. One that was moved from is empty, with extents of zero.
///
/// Rows are padded to 16, each group of columns to a whole unit of 8 (4 and 8 bits), 16 or 32.
/// With a group index the columns are sorted by group and column_order() says which is where.
template <Format F>
class PackedMatrix : kernels::PackedParts {
 public:
  using format = F;
  using layout = DenseLayout;
  using Codes = kernels::packed_codes<F>;

  PackedMatrix() = default;
  /// Takes bytes arranged as kernels::packed_sections<F>(shape) says.
  ///
  /// Errors    ShapeError for another number of bytes; ArgumentError when they are not 64-byte
  ///           aligned, when a scale is not finite, when a zero point has too many bits or when the
  ///           column order does not hold every column once; all of kernels::packed_sections
  PackedMatrix(const PackedShape& shape, PackedStorage storage)
      : PackedParts(shape, kernels::packed_sections<F>(shape), std::move(storage)) {
    kernels::check_packed_bytes(F::name, shape, sections_.size_bytes, storage_.bytes());
    if constexpr (StoresOwnParameters<F>) {
      kernels::check_parameters<F>(section<std::byte>(sections_.scales), FieldScope::block);
      kernels::check_parameters<F>(section<std::byte>(sections_.tensor), FieldScope::tensor);
    } else {
      kernels::check_scales(section<std::byte>(sections_.scales), shape.scale_type);
    }
    kernels::check_zero_points(section<std::uint8_t>(sections_.zero_points),
                               (1 << F::code_bits) - 1);
    kernels::check_column_order(column_order(), cols());
  }

  [[nodiscard]] const PackedShape& shape() const noexcept { return shape_; }
  [[nodiscard]] Index rows() const noexcept { return shape_.rows; }
  [[nodiscard]] Index cols() const noexcept { return shape_.cols; }
  /// As quantized: -1 means the whole row.
  [[nodiscard]] Index group_size() const noexcept { return shape_.group_size; }
  [[nodiscard]] Index group_length() const noexcept { return shape_.group_length(); }
  [[nodiscard]] Index groups() const noexcept { return sections_.groups; }
  [[nodiscard]] ScaleType scale_type() const noexcept { return shape_.scale_type; }
  [[nodiscard]] Index panels() const noexcept { return shape_.panels(); }

  /// Position p of the packed columns holds column column_order()[p]; empty: in order.
  [[nodiscard]] std::span<const std::int32_t> column_order() const noexcept {
    return section<std::int32_t>(sections_.column_order);
  }
  /// Sum of each row's weights, over the factor of the format's integer_codebook where it has one:
  /// what integer activations with a zero point subtract.
  [[nodiscard]] std::span<const float> row_sums() const noexcept {
    return section<float>(sections_.row_sums);
  }
  /// What kernels read.
  [[nodiscard]] kernels::PackedView view() const noexcept;

  [[nodiscard]] const PackedStorage& storage() const noexcept { return storage_; }
  /// Memory held, padding included.
  [[nodiscard]] Index bytes() const noexcept { return sections_.size_bytes; }
  /// The memory that a matmul reads: codes and their parameters, padding included.
  [[nodiscard]] std::span<const std::byte> streamed() const noexcept {
    return storage_.bytes().first(static_cast<std::size_t>(sections_.row_sums.offset_bytes));
  }
  [[nodiscard]] double bits_per_weight() const noexcept {
    return rows() * cols() == 0
               ? 0.0
               : 8.0 * static_cast<double>(bytes()) / static_cast<double>(rows() * cols());
  }

  friend bool operator==(const PackedMatrix& a, const PackedMatrix& b) noexcept {
    return a.equals(b);
  }

 private:
  template <class T>
  [[nodiscard]] std::span<const T> section(const kernels::Section& section) const noexcept {
    return kernels::section_of<T>(storage_.bytes(), section);
  }
};

template <Format F>
kernels::PackedView PackedMatrix<F>::view() const noexcept {
  kernels::PackedView view;
  view.rows = rows();
  view.cols = cols();
  view.group_length = group_length();
  view.order = column_order().data();
  view.row_sums = row_sums().data();
  view.first = {section<std::uint32_t>(sections_.codes).data(),
                section<std::byte>(sections_.scales).data(),
                section<std::uint8_t>(sections_.zero_points).data(),
                nullptr,
                nullptr,
                scale_type(),
                kernels::code_center<F>,
                sections_.units,
                sections_.group_units,
                kernels::record_bytes<F>(FieldScope::block),
                section<std::byte>(sections_.tensor).data()};
  view.unit = Codes::unit;
  view.unit_words = Codes::unit_words;
  view.code_bits = Codes::bits;
  if constexpr (kernels::TableFormat<F>) {
    view.first.values = kernels::code_values<F>.data();
    view.first.operands = kernels::integer_codebook<F>.operands.data();
    view.codebook = &kernels::integer_codebook<F>;
  }
  return view;
}

}  // namespace pare
