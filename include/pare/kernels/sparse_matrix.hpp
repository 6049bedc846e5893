#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "pare/kernels/layout/packed_checks.hpp"
#include "pare/kernels/layout/packed_storage.hpp"
#include "pare/kernels/layout/sparse_sections.hpp"

namespace pare {

/// A weight of `Int<8>` without its zeros, in the form that matmul reads: see the layout for the
/// codes and kernels::SparseSections for the rest. `pack<L>` makes one, load_packed and map_packed
/// read it from a file. One that was moved from is empty, with extents of zero.
///
/// Groups, scales and column order are those of the PackedMatrix that it takes the place of.
template <SparseLayout L>
class SparseMatrix {
 public:
  using format = Int<8>;
  using layout = L;

  SparseMatrix() = default;
  /// Takes bytes arranged as kernels::sparse_sections<L> says.
  ///
  /// Errors    ShapeError for another number of bytes; ArgumentError when they are not 64-byte
  ///           aligned, for a scale that is not finite, blocks that do not ascend inside the strips
  ///           or a column order that does not hold every column once; all of
  ///           kernels::sparse_sections
  SparseMatrix(const PackedShape& shape, PackedStorage storage)
      : shape_(shape), storage_(std::move(storage)) {
    blocks_ = read_blocks();
    sections_ = kernels::sparse_sections<L>(shape, blocks_);
    kernels::check_packed_bytes(L::name, shape, sections_.size_bytes, storage_.bytes());
    kernels::check_scales(section<std::byte>(sections_.scales), shape.scale_type);
    kernels::check_column_order(column_order(), cols());
    check_blocks();
  }

  SparseMatrix(const SparseMatrix&) = default;
  SparseMatrix(SparseMatrix&& other) noexcept : SparseMatrix() { swap(other); }
  SparseMatrix& operator=(SparseMatrix other) noexcept {
    swap(other);
    return *this;
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
  /// Kept in all; 0 in a layout without blocks.
  [[nodiscard]] Index blocks() const noexcept { return blocks_; }
  /// Stored codes over all codes.
  [[nodiscard]] double density() const noexcept {
    if (!L::has_blocks) return 0.5;
    const Index all = sections_.most_blocks();
    return all == 0 ? 0.0 : static_cast<double>(blocks_) / static_cast<double>(all);
  }

  /// Position p of the packed columns holds column column_order()[p]; empty: in order.
  [[nodiscard]] std::span<const std::int32_t> column_order() const noexcept {
    return section<std::int32_t>(sections_.column_order);
  }
  /// Sum of each row's weights: what integer activations with a zero point subtract.
  [[nodiscard]] std::span<const float> row_sums() const noexcept {
    return section<float>(sections_.row_sums);
  }
  /// What kernels read: like that of the dense weight, but for the codes.
  [[nodiscard]] kernels::PackedView view() const noexcept;

  [[nodiscard]] const kernels::SparseSections& sections() const noexcept { return sections_; }
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

  friend bool operator==(const SparseMatrix& a, const SparseMatrix& b) noexcept {
    const std::span<const std::byte> ours = a.storage_.bytes(), others = b.storage_.bytes();
    return a.shape_ == b.shape_ &&
           std::equal(ours.begin(), ours.end(), others.begin(), others.end());
  }

 private:
  template <class T>
  [[nodiscard]] std::span<const T> section(const kernels::Section& section) const noexcept {
    return kernels::section_of<T>(storage_.bytes(), section);
  }

  void swap(SparseMatrix& other) noexcept {
    std::swap(shape_, other.shape_);
    std::swap(blocks_, other.blocks_);
    std::swap(sections_, other.sections_);
    std::swap(storage_, other.storage_);
  }

  /// The last of the first blocks, which lie first; 0 where there is no room for them.
  [[nodiscard]] Index read_blocks() const;
  void check_blocks() const;

  PackedShape shape_{};
  Index blocks_ = 0;
  kernels::SparseSections sections_{};
  PackedStorage storage_{};
};

template <SparseLayout L>
kernels::PackedView SparseMatrix<L>::view() const noexcept {
  using Codes = kernels::packed_codes<Int<8>>;
  kernels::PackedView view;
  view.rows = rows();
  view.cols = cols();
  view.group_length = group_length();
  view.order = column_order().data();
  view.row_sums = row_sums().data();
  view.first = {nullptr,
                section<std::byte>(sections_.scales).data(),
                nullptr,
                kernels::code_values<Int<8>>.data(),
                kernels::integer_codebook<Int<8>>.operands.data(),
                scale_type(),
                kernels::code_center<Int<8>>,
                sections_.units,
                sections_.group_units};
  view.unit = Codes::unit;
  view.unit_words = Codes::unit_words;
  view.code_bits = Codes::bits;
  view.codebook = &kernels::integer_codebook<Int<8>>;
  view.sparse = {section<std::byte>(sections_.codes).data(),
                 section<std::uint16_t>(sections_.quads).data(),
                 section<std::int64_t>(sections_.first_blocks).data(),
                 section<std::int32_t>(sections_.compensation).data(),
                 L::channels,
                 sections_.strip_bytes,
                 &L::expand};
  return view;
}

template <SparseLayout L>
Index SparseMatrix<L>::read_blocks() const {
  if constexpr (!L::has_blocks) return 0;
  const Index strips = kernels::sparse_sections<L>(shape_, 0).strips;
  const std::span<const std::byte> bytes = storage_.bytes();
  std::int64_t blocks = 0;
  if (static_cast<Index>(bytes.size()) >= (strips + 1) * Index{sizeof(blocks)})
    std::memcpy(&blocks, bytes.data() + strips * Index{sizeof(blocks)}, sizeof(blocks));
  return blocks;
}

template <SparseLayout L>
void SparseMatrix<L>::check_blocks() const {
  if constexpr (!L::has_blocks) return;
  const auto first = section<std::int64_t>(sections_.first_blocks);
  const auto quads = section<std::uint16_t>(sections_.quads);
  Index next = 0;
  for (std::size_t strip = 0; strip + 1 < first.size(); ++strip) {
    bool valid = first[strip] == next && first[strip + 1] >= next && first[strip + 1] <= blocks_;
    for (Index last = -1; valid && next < first[strip + 1]; ++next) {
      const Index quad = quads[static_cast<std::size_t>(next)];
      valid = quad > last && quad < 2 * sections_.units;
      last = quad;
    }
    if (!valid)
      throw ArgumentError("the blocks of strip " + std::to_string(strip) + " do not ascend in " +
                          std::to_string(2 * sections_.units) + " fours of columns");
  }
  if (next != blocks_)
    throw ArgumentError("the strips have " + std::to_string(next) + " of " +
                        std::to_string(blocks_) + " blocks");
}

}  // namespace pare
