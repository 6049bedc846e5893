#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/packed_layout.hpp"

namespace pare {

template <Format F>
class PackedMatrix;
template <Format F>
[[nodiscard]] PackedMatrix<F> pack(const QuantizedMatrix<F>& q, const Execution& execution = {});

/// A quantized weight in the form that matmul reads: see kernels::PackedCodes for the bytes.
///
/// Rows are padded to 16, each group of columns to a whole unit of 8 (4 and 8 bits) or 32 columns.
/// With a group index the columns are sorted by group and column_order() says which is where.
///
/// Shapes    codes [panels][units][words][16]; scales, zero points [panels][groups][16];
///           panels = ceil(rows / 16)
template <Format F>
class PackedMatrix {
 public:
  using format = F;
  using Codes = kernels::packed_codes<F>;

  PackedMatrix() = default;

  [[nodiscard]] Index rows() const noexcept { return rows_; }
  [[nodiscard]] Index cols() const noexcept { return cols_; }
  /// As quantized: -1 means the whole row.
  [[nodiscard]] Index group_size() const noexcept { return group_size_; }
  [[nodiscard]] Index group_length() const noexcept {
    return group_size_ == -1 ? cols_ : group_size_;
  }
  [[nodiscard]] Index groups() const noexcept { return ceil_div(units_, group_units_); }
  [[nodiscard]] ScaleType scale_type() const noexcept { return scale_type_; }

  /// Position p of the packed columns holds column column_order()[p]; empty: in order.
  [[nodiscard]] std::span<const std::int32_t> column_order() const noexcept { return order_; }
  [[nodiscard]] Index panels() const noexcept { return ceil_div(rows_, kernels::panel_channels); }
  /// What kernels read.
  [[nodiscard]] kernels::PackedView view() const noexcept;

  /// Sum of each row's weights (integer formats): what activations with a zero point subtract.
  [[nodiscard]] std::span<const float> row_sums() const noexcept { return row_sums_; }

  /// Memory held, padding included.
  [[nodiscard]] Index bytes() const noexcept {
    return static_cast<Index>(codes_.size() * sizeof(std::uint32_t) + scales_.size() +
                              zero_points_.size() + row_sums_.size() * sizeof(float) +
                              order_.size() * sizeof(std::int32_t));
  }
  [[nodiscard]] double bits_per_weight() const noexcept {
    return rows_ * cols_ == 0
               ? 0.0
               : 8.0 * static_cast<double>(bytes()) / static_cast<double>(rows_ * cols_);
  }

  friend bool operator==(const PackedMatrix&, const PackedMatrix&) = default;
  friend PackedMatrix pack<F>(const QuantizedMatrix<F>&, const Execution&);

 private:
  explicit PackedMatrix(const QuantizedMatrix<F>& q);
  void pack_panel(const QuantizedMatrix<F>& q, Index panel);
  void pack_parameters(const QuantizedMatrix<F>& q, Index row, Index group);

  Index rows_ = 0, cols_ = 0, group_size_ = -1;
  ScaleType scale_type_ = ScaleType::f32;
  Index units_ = 0, group_units_ = 1;
  AlignedVector<std::uint32_t> codes_;
  AlignedVector<std::byte> scales_;
  AlignedVector<std::uint8_t> zero_points_;
  std::vector<float> row_sums_;
  std::vector<std::int32_t> order_;
};

template <Format F>
PackedMatrix<F>::PackedMatrix(const QuantizedMatrix<F>& q)
    : rows_(q.rows()),
      cols_(q.cols()),
      group_size_(q.group_size()),
      scale_type_(q.scale_type()),
      order_(q.column_order()) {
  if (cols_ > 0) {
    group_units_ = ceil_div(q.group_length(), Codes::unit);
    const Index last = cols_ - (q.groups() - 1) * q.group_length();
    units_ = (q.groups() - 1) * group_units_ + ceil_div(last, Codes::unit);
  }
  const Index channels = panels() * kernels::panel_channels;
  codes_.resize(static_cast<std::size_t>(panels() * units_ * Codes::unit_words));
  scales_.resize(static_cast<std::size_t>(channels * groups() * bits(scale_type_) / 8));
  if constexpr (F::has_zero_point)
    zero_points_.resize(static_cast<std::size_t>(channels * groups()));
  if constexpr (F::is_integer) row_sums_.resize(static_cast<std::size_t>(rows_));
}

template <Format F>
kernels::PackedView PackedMatrix<F>::view() const noexcept {
  kernels::PackedView view;
  view.rows = rows_;
  view.cols = cols_;
  view.group_length = group_length();
  view.order = order_.empty() ? nullptr : order_.data();
  view.row_sums = row_sums_.data();
  view.first = {codes_.data(),
                scales_.data(),
                F::has_zero_point ? zero_points_.data() : nullptr,
                kernels::code_values<F>.data(),
                scale_type_,
                units_,
                group_units_};
  view.unit = Codes::unit;
  view.unit_words = Codes::unit_words;
  view.center = Codes::center;
  return view;
}

template <Format F>
void PackedMatrix<F>::pack_parameters(const QuantizedMatrix<F>& q, Index row, Index group) {
  const Index lane = row % kernels::panel_channels, panel = row / kernels::panel_channels;
  const Index at = (panel * groups() + group) * kernels::panel_channels + lane;
  const auto& parameters = q.parameters()(row, group);
  const auto where = [&] {
    return " of row " + std::to_string(row) + ", group " + std::to_string(group);
  };

  const float scale = parameters.scale;
  if (!(store_scale(scale, scale_type_) == scale))
    throw ArgumentError("scale " + std::to_string(scale) + where() + " is not a number of type " +
                        std::string(to_string(scale_type_)));
  std::byte* stored = scales_.data() + at * bits(scale_type_) / 8;
  const auto put = [&](const auto& value) { std::memcpy(stored, &value, sizeof(value)); };
  switch (scale_type_) {
    case ScaleType::f32:
      put(scale);
      break;
    case ScaleType::f16:
      put(Float16(scale));
      break;
    case ScaleType::bf16:
      put(BFloat16(scale));
      break;
  }

  if constexpr (F::has_zero_point) {
    constexpr int largest = (1 << F::code_bits) - 1;
    const int zero_point = F::zero_point(parameters);
    if (zero_point < 0 || zero_point > largest)
      throw ArgumentError("zero point " + std::to_string(zero_point) + where() +
                          " is outside [0, " + std::to_string(largest) + "]");
    zero_points_[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(zero_point);
  }
}

template <Format F>
void PackedMatrix<F>::pack_panel(const QuantizedMatrix<F>& q, Index panel) {
  const Index first = panel * kernels::panel_channels, length = group_length();
  const Index last = std::min(first + kernels::panel_channels, rows_);
  for (Index row = first; row < last; ++row) {
    double row_sum = 0.0;
    for (Index g = 0; g < groups(); ++g) {
      pack_parameters(q, row, g);
      std::uint32_t* unit = codes_.data() + (panel * units_ + g * group_units_) * Codes::unit_words;
      const Index begin = g * length, count = std::min(length, cols_ - begin);
      Index group_sum = 0;
      for (Index k = 0; k < count; ++k) {
        const Index column =
            order_.empty() ? begin + k : order_[static_cast<std::size_t>(begin + k)];
        const unsigned code = detail::stored_code(q, row, column);
        kernels::store_code<Codes>(unit + k / Codes::unit * Codes::unit_words,
                                   static_cast<int>(k % Codes::unit), row - first, code);
        group_sum += q.code(row, column);
      }
      const auto& parameters = q.parameters()(row, g);
      row_sum += static_cast<double>(parameters.scale) *
                 static_cast<double>(group_sum - count * F::zero_point(parameters));
    }
    if constexpr (F::is_integer)
      row_sums_[static_cast<std::size_t>(row)] = static_cast<float>(row_sum);
  }
}

/// Arranges a quantized weight for matmul: any shape, any group size, with or without group index.
///
/// Errors    ArgumentError naming row and column of a code that the format does not have, or row
///           and group of a scale that is not a number of the matrix's scale type or of a zero
///           point outside [0, 2^b - 1]
/// Order     independent of the number of threads
template <Format F>
PackedMatrix<F> pack(const QuantizedMatrix<F>& q, const Execution& execution) {
  PackedMatrix<F> packed(q);
  execution.parallel_for(packed.panels(), [&](Index panel) { packed.pack_panel(q, panel); });
  return packed;
}

/// The canonical form back: pack(unpack(p)) == p.
template <Format F>
[[nodiscard]] QuantizedMatrix<F> unpack(const PackedMatrix<F>& packed) {
  using Codes = typename PackedMatrix<F>::Codes;
  QuantizedMatrix<F> q(packed.rows(), packed.cols(), packed.group_size(), packed.scale_type());
  const std::span<const std::int32_t> order = packed.column_order();
  if (!order.empty()) {
    std::vector<std::int32_t> group_index(order.size());
    for (Index p = 0; p < q.cols(); ++p)
      group_index[static_cast<std::size_t>(order[static_cast<std::size_t>(p)])] =
          static_cast<std::int32_t>(p / q.group_length());
    q.set_group_index(group_index);
  }
  for (Index row = 0; row < q.rows(); ++row) {
    const kernels::PackedPanel panel = packed.view().panel(row / kernels::panel_channels);
    const Index lane = row % kernels::panel_channels;
    for (Index p = 0; p < q.cols(); ++p) {
      const Index g = p / q.group_length(), k = p % q.group_length();
      const Index column = order.empty() ? p : order[static_cast<std::size_t>(p)];
      q.codes()(row, column) = from_stored<F>(static_cast<std::uint8_t>(kernels::load_code<Codes>(
          panel.codes + (g * panel.group_units + k / Codes::unit) * Codes::unit_words,
          static_cast<int>(k % Codes::unit), lane)));
    }
    for (Index g = 0; g < q.groups(); ++g) {
      auto& parameters = q.parameters()(row, g);
      parameters.scale = kernels::load_scale(panel, g, lane);
      if (panel.zero_points)
        F::set_zero_point(parameters, panel.zero_points[g * kernels::panel_channels + lane]);
    }
  }
  return q;
}

}  // namespace pare
