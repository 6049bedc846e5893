#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/formats/block_shape.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// What is the same for every format is compiled once.
namespace detail {

/// Throws as QuantizedMatrix::set_group_index; false for the trivial assignment.
[[nodiscard]] inline bool check_group_index(std::span<const std::int32_t> index, Index cols,
                                            Index groups, Index group_length) {
  if (static_cast<Index>(index.size()) != cols)
    throw ShapeError("the group index has " + std::to_string(index.size()) + " entries for " +
                     std::to_string(cols) + " columns");
  std::vector<Index> members(static_cast<std::size_t>(groups));
  bool trivial = true;
  for (Index j = 0; j < cols; ++j) {
    const std::int32_t g = index[static_cast<std::size_t>(j)];
    if (g < 0 || g >= groups)
      throw ArgumentError("column " + std::to_string(j) + " is in group " + std::to_string(g) +
                          " of " + std::to_string(groups));
    ++members[static_cast<std::size_t>(g)];
    trivial = trivial && g == j / group_length;
  }
  for (Index g = 0; g < groups; ++g)
    if (const Index expected = std::min(group_length, cols - g * group_length);
        members[static_cast<std::size_t>(g)] != expected)
      throw ArgumentError("group " + std::to_string(g) + " has " +
                          std::to_string(members[static_cast<std::size_t>(g)]) +
                          " columns instead of " + std::to_string(expected));
  return !trivial;
}

/// The columns sorted by group, ascending inside one.
[[nodiscard]] inline std::vector<std::int32_t> order_by_group(
    std::span<const std::int32_t> group_index, Index groups) {
  std::vector<std::size_t> next(static_cast<std::size_t>(groups) + 1);
  for (const std::int32_t g : group_index) ++next[static_cast<std::size_t>(g) + 1];
  for (std::size_t g = 1; g < next.size(); ++g) next[g] += next[g - 1];
  std::vector<std::int32_t> order(group_index.size());
  for (std::size_t j = 0; j < order.size(); ++j)
    order[next[static_cast<std::size_t>(group_index[j])]++] = static_cast<std::int32_t>(j);
  return order;
}

[[noreturn]] inline void refuse_code(int code, Index i, Index j, std::string_view format) {
  throw ArgumentError("code " + std::to_string(code) + " at [" + std::to_string(i) + ", " +
                      std::to_string(j) + "] is no " + std::string(format));
}

}  // namespace detail

/// A quantized weight in its canonical form: one plain code per element, row-major.
///
/// What methods produce, io reads and writes, and tests inspect. Kernels read a PackedMatrix.
///
/// Shapes    codes (rows, cols); parameters (rows, groups), groups = ceil(cols / group_size)
/// Blocks    a row is cut into groups of `group_size` columns, the last one may be shorter;
///           group_size -1 is one group per row. With a group index (act_order without static
///           groups) column j belongs to group_index[j] instead of j / group_size. Blocks of
///           other shapes are made of groups with the same parameters: set_block sets them all,
///           and files hold them once
/// Errors    ArgumentError for a group size of 0, below -1 or larger than the row, and for blocks
///           larger than the matrix
template <Format F>
class QuantizedMatrix {
 public:
  using format = F;
  using Code = typename F::Code;
  using Parameters = typename F::Parameters;

  QuantizedMatrix() = default;
  QuantizedMatrix(Index rows, Index cols, Index group_size, ScaleType scale_type)
      : QuantizedMatrix(rows, cols, BlockShape::groups(group_size), scale_type) {}
  QuantizedMatrix(Index rows, Index cols, const BlockShape& blocks, ScaleType scale_type)
      : blocks_(blocks),
        group_size_(detail::checked_group_size(blocks, rows, cols)),
        scale_type_(scale_type),
        codes_({rows, cols}),
        parameters_({rows, group_count(cols, group_size_)}) {}

  /// Groups in a row of `cols` columns. Throws ArgumentError as the class does.
  [[nodiscard]] static Index group_count(Index cols, Index group_size) {
    return detail::group_count(cols, group_size);
  }

  [[nodiscard]] Index rows() const noexcept { return codes_.rows(); }
  [[nodiscard]] Index cols() const noexcept { return codes_.cols(); }
  /// -1 means the whole row.
  [[nodiscard]] Index group_size() const noexcept { return group_size_; }
  /// Columns in a full group: cols() when group_size() is -1.
  [[nodiscard]] Index group_length() const noexcept {
    return group_size_ == -1 ? cols() : group_size_;
  }
  [[nodiscard]] Index groups() const noexcept { return parameters_.cols(); }
  [[nodiscard]] ScaleType scale_type() const noexcept { return scale_type_; }

  /// As given.
  [[nodiscard]] const BlockShape& blocks() const noexcept { return blocks_; }
  /// Rows and columns of blocks; one row of them where they are runs.
  [[nodiscard]] Shape<2> block_grid() const noexcept {
    if (blocks_.flat) return {1, ceil_div(parameters_.size(), groups_in_run())};
    return {ceil_div(rows(), rows_in_block()), groups()};
  }
  /// Row and group where block [i, j] of the grid begins.
  [[nodiscard]] std::array<Index, 2> block_begin(Index i, Index j) const noexcept {
    if (!blocks_.flat) return {i * rows_in_block(), j};
    return {j * groups_in_run() / groups(), j * groups_in_run() % groups()};
  }
  /// The parameters of block [i, j] of the grid.
  [[nodiscard]] const Parameters& block(Index i, Index j) const noexcept {
    const auto [row, group] = block_begin(i, j);
    return parameters_(row, group);
  }
  void set_block(Index i, Index j, const Parameters& parameters) noexcept {
    for_each_group(i, j, [&](Index row, Index group) { parameters_(row, group) = parameters; });
  }
  /// Calls `visit(row, group)` for what block [i, j] of the grid is made of.
  template <class Visit>
  void for_each_group(Index i, Index j, const Visit& visit) const {
    const auto [row, group] = block_begin(i, j);
    if (blocks_.flat) {
      const Index first = j * groups_in_run();
      const Index end = std::min(parameters_.size(), first + groups_in_run());
      for (Index g = first; g < end; ++g) visit(g / groups(), g % groups());
    } else {
      const Index end = std::min(rows(), row + rows_in_block());
      for (Index r = row; r < end; ++r) visit(r, group);
    }
  }

  [[nodiscard]] MatrixView<Code> codes() noexcept { return codes_; }
  [[nodiscard]] MatrixView<const Code> codes() const noexcept { return codes_; }
  [[nodiscard]] MatrixView<Parameters> parameters() noexcept { return parameters_; }
  [[nodiscard]] MatrixView<const Parameters> parameters() const noexcept { return parameters_; }

  [[nodiscard]] Code code(Index i, Index j) const noexcept { return codes_(i, j); }
  [[nodiscard]] float value(Index i, Index j) const noexcept {
    return F::decode(codes_(i, j), parameters_(i, group_of(j)));
  }

  /// The group whose parameters column j uses.
  [[nodiscard]] Index group_of(Index j) const noexcept {
    if (!group_index_.empty()) return group_index_[static_cast<std::size_t>(j)];
    return group_size_ == -1 ? 0 : j / group_size_;
  }

  /// Group of each column, or empty when groups are neighbouring columns.
  [[nodiscard]] std::span<const std::int32_t> group_index() const noexcept { return group_index_; }

  /// Assigns columns to groups freely. Each group must get as many columns as it has without an
  /// index (group_size, the last one the rest); the trivial assignment is stored as none.
  /// Throws ShapeError for a wrong length, ArgumentError for wrong counts and where blocks are
  /// runs.
  void set_group_index(std::span<const std::int32_t> index) {
    if (blocks_.flat) throw ArgumentError("a group index does not go with runs");
    if (detail::check_group_index(index, cols(), groups(), group_length()))
      group_index_.assign(index.begin(), index.end());
    else
      group_index_.clear();
  }

  /// Columns sorted by group (ascending inside one): position p of the order holds column
  /// order[p]. Empty when groups are neighbouring columns. Kernels gather activations by it.
  [[nodiscard]] std::vector<std::int32_t> column_order() const {
    if (group_index_.empty()) return {};
    return detail::order_by_group(group_index_, groups());
  }

  /// Bytes as stored densely: codes, scales, zero points, and the group index if there is one.
  [[nodiscard]] Index bytes() const noexcept {
    const Index code_bits = rows() * cols() * F::code_bits;
    const auto [block_rows, block_cols] = block_grid();
    const Index block_bits =
        block_rows * block_cols * parameter_bits<F>(scale_type_) + tensor_parameter_bits<F>();
    return ceil_div(code_bits, 8) + ceil_div(block_bits, 8) +
           static_cast<Index>(group_index_.size() * sizeof(std::int32_t));
  }

  [[nodiscard]] double bits_per_weight() const noexcept {
    return codes_.empty() ? 0.0
                          : 8.0 * static_cast<double>(bytes()) / static_cast<double>(codes_.size());
  }

  friend bool operator==(const QuantizedMatrix&, const QuantizedMatrix&) = default;

 private:
  [[nodiscard]] Index rows_in_block() const noexcept {
    return blocks_.rows == -1 ? std::max<Index>(rows(), 1) : blocks_.rows;
  }
  [[nodiscard]] Index groups_in_run() const noexcept {
    if (blocks_.cols == -1 || parameters_.empty()) return std::max<Index>(parameters_.size(), 1);
    return blocks_.cols / group_length();
  }

  BlockShape blocks_;
  Index group_size_ = -1;
  ScaleType scale_type_ = ScaleType::f32;
  Matrix<Code> codes_;
  Matrix<Parameters> parameters_;
  std::vector<std::int32_t> group_index_;
};

namespace detail {

/// The unsigned number that is stored for code [i, j]. Codes are plain bytes that anyone may set:
/// one that the format lacks would spill into its neighbours or stand for nothing. Throws
/// ArgumentError.
template <Format F>
[[nodiscard]] std::uint8_t stored_code(const QuantizedMatrix<F>& q, Index i, Index j) {
  const int code = q.code(i, j), number = code + F::code_offset;
  if (number < 0 || number >= code_count<F>()) refuse_code(code, i, j, F::name);
  return static_cast<std::uint8_t>(number);
}

}  // namespace detail

namespace detail {

/// Throws ArgumentError naming the parameter of block [i, g] that its type does not hold.
template <StoresOwnParameters F>
[[noreturn]] void refuse_parameters(const typename F::Parameters& parameters, FieldScope scope,
                                    Index i, Index g) {
  std::string culprit = "a parameter";
  F::stored.for_each(scope, [&](const auto& field) {
    std::byte bytes[4];
    if (!field.store(parameters, bytes))
      culprit = "parameter " + std::to_string(parameters.*field.member) + " in \"" +
                std::string(field.name) + "\" of " + std::string(F::name);
  });
  throw ArgumentError(culprit + ", block [" + std::to_string(i) + ", " + std::to_string(g) +
                      "], is not a number of its type");
}

/// Throws ArgumentError where groups of one block have different parameters: those of the block
/// are stored once.
template <Format F>
void require_same_in_blocks(const QuantizedMatrix<F>& q) {
  if (q.blocks().is_in_row()) return;
  const auto parameters = q.parameters();
  const auto [rows, cols] = q.block_grid();
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j)
      q.for_each_group(i, j, [&, &block = q.block(i, j)](Index row, Index group) {
        if (!(parameters(row, group) == block))
          throw ArgumentError("group " + std::to_string(group) + " of row " + std::to_string(row) +
                              " has other parameters than its block begins with");
      });
}

/// Throws ArgumentError where a tensor's parameters differ between its blocks, or do not fit.
template <StoresOwnParameters F>
void require_same_tensor_parameters(const QuantizedMatrix<F>& q) {
  const auto parameters = q.parameters();
  const auto check = [&](const auto& field) {
    for (Index i = 0; i < parameters.rows(); ++i)
      for (Index g = 0; g < parameters.cols(); ++g)
        if (parameters(i, g).*field.member != parameters(0, 0).*field.member)
          throw ArgumentError("\"" + std::string(field.name) + "\" of " + std::string(F::name) +
                              " differs between the blocks of a matrix, at [" + std::to_string(i) +
                              ", " + std::to_string(g) + "]");
  };
  F::stored.for_each(FieldScope::tensor, check);
  std::byte bytes[64];
  static_assert(F::stored.bytes(FieldScope::tensor) <= 64);
  if (!parameters.empty() && !store_parameters<F>(parameters(0, 0), FieldScope::tensor, bytes))
    refuse_parameters<F>(parameters(0, 0), FieldScope::tensor, 0, 0);
}

}  // namespace detail

/// The values that the codes stand for, (rows, cols).
template <Format F>
[[nodiscard]] Matrix<float> dequantize(const QuantizedMatrix<F>& q) {
  Matrix<float> values({q.rows(), q.cols()});
  for (Index i = 0; i < q.rows(); ++i)
    for (Index j = 0; j < q.cols(); ++j) values(i, j) = q.value(i, j);
  return values;
}

}  // namespace pare
