#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/core/huge_page_memory.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/dispatch/arrange_codes.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/packed_matrix.hpp"

namespace pare {

namespace kernels::detail {

[[nodiscard]] inline std::string in_group(Index row, Index g) {
  return " of row " + std::to_string(row) + ", group " + std::to_string(g);
}
[[noreturn]] inline void refuse_scale(float scale, ScaleType type, Index row, Index g) {
  throw ArgumentError("scale " + std::to_string(scale) + in_group(row, g) +
                      " is not a number of type " + std::string(to_string(type)));
}
[[noreturn]] inline void refuse_zero_point(int zero_point, int largest, Index row, Index g) {
  throw ArgumentError("zero point " + std::to_string(zero_point) + in_group(row, g) +
                      " is outside [0, " + std::to_string(largest) + "]");
}

/// Writes the column order, and zeros between the sections.
inline void finish_sections(const PackedSections& sections, std::span<const std::int32_t> order,
                            std::byte* bytes) noexcept {
  if (!order.empty())
    std::memcpy(bytes + sections.column_order.offset_bytes, order.data(), order.size_bytes());
  for (const Section& section : {sections.codes, sections.scales, sections.zero_points,
                                 sections.tensor, sections.row_sums, sections.column_order}) {
    const Index gap = round_up(section.end_bytes(), Index{tensor_alignment_bytes});
    std::fill(bytes + section.end_bytes(), bytes + gap, std::byte{0});
  }
}

/// Writes panels of a matrix into the sections of its packed form.
template <Format F>
class PanelPacker {
 public:
  PanelPacker(const QuantizedMatrix<F>& q, const PackedShape& shape,
              std::span<const std::int32_t> order, ArrangeCodes arrange, std::byte* bytes)
      : q_(q),
        codes_(reinterpret_cast<const std::uint8_t*>(q.codes().data())),
        parameters_(q.parameters().data()),
        shape_(shape),
        sections_(packed_sections<F>(shape)),
        order_(order),
        arrange_(arrange),
        bytes_(bytes) {}

  void pack(Index panel) const {
    const Index first = panel * panel_channels;
    const Index lanes = std::min(panel_channels, shape_.rows - first);
    LaneSums sums;
    double row_sums[panel_channels] = {};
    for (Index g = 0; g < sections_.groups; ++g) {
      Index operand_sums[panel_channels] = {};
      pack_codes(panel, g, lanes, sums, operand_sums);
      for (Index lane = 0; lane < lanes; ++lane)
        row_sums[lane] += pack_parameters(panel, g, lane, operand_sums[lane]);
      for (Index lane = lanes; lane < panel_channels; ++lane) clear_parameters(panel, g, lane);
    }
    if (sums.largest_code() >= code_count<F>()) refuse_codes(first, lanes);
    if constexpr (!TableFormat<F>)
      for (Index lane = 0; lane < lanes; ++lane) row_sums[lane] = sum_of(first + lane);
    if constexpr (StoresOwnParameters<F>)
      if (panel == 0) pack_tensor_parameters();
    float* to = at<float>(sections_.row_sums) + first;
    for (Index lane = 0; lane < lanes; ++lane) to[lane] = static_cast<float>(row_sums[lane]);
  }

 private:
  using Codes = packed_codes<F>;

  template <class T>
  [[nodiscard]] T* at(const Section& section) const noexcept {
    return reinterpret_cast<T*>(bytes_ + section.offset_bytes);
  }

  void pack_codes(Index panel, Index g, Index lanes, LaneSums& sums, Index* operand_sums) const {
    const Index first = panel * panel_channels, length = shape_.group_length();
    const Index end = std::min((g + 1) * length, shape_.cols);
    std::uint32_t* unit = at<std::uint32_t>(sections_.codes) +
                          (panel * sections_.units + g * sections_.group_units) * Codes::unit_words;
    for (Index position = g * length; position < end; position += arranged_columns) {
      const Index count = std::min(arranged_columns, end - position);
      const Index units = ceil_div(count, Codes::unit);
      if (order_.empty()) {
        arrange_({codes_ + first * shape_.cols + position, shape_.cols, lanes}, count, sums, unit);
      } else {
        std::uint8_t gathered[panel_channels * arranged_columns];
        gather(first, lanes, position, count, gathered);
        arrange_({gathered, arranged_columns, lanes}, count, sums, unit);
      }
      const Index constant =
          (units * Codes::unit - count) * padding_operand<F> + count * operand_center<F>;
      for (Index lane = 0; lane < lanes; ++lane)
        operand_sums[lane] += sums.take_operands(lane) - constant;
      unit += units * Codes::unit_words;
    }
  }

  void gather(Index first, Index lanes, Index position, Index count,
              std::uint8_t* gathered) const noexcept {
    const std::int32_t* const order = order_.data() + position;
    for (Index lane = 0; lane < lanes; ++lane, gathered += arranged_columns) {
      const std::uint8_t* const row = codes_ + (first + lane) * shape_.cols;
      for (Index k = 0; k < count; ++k) gathered[k] = row[order[k]];
    }
  }

  /// Throws naming the first code of the rows that the format lacks.
  void refuse_codes(Index first, Index lanes) const {
    for (Index row = first; row < first + lanes; ++row)
      for (Index col = 0; col < shape_.cols; ++col) (void)pare::detail::stored_code(q_, row, col);
  }

  /// Returns what the group adds to the sum of the row.
  double pack_parameters(Index panel, Index g, Index lane, Index operand_sum) const {
    const Index row = panel * panel_channels + lane;
    const Index place = (panel * sections_.groups + g) * panel_channels + lane;
    const auto& parameters = parameters_[row * sections_.groups + g];
    if constexpr (StoresOwnParameters<F>) {
      if (!store_parameters<F>(
              parameters, FieldScope::block,
              at<std::byte>(sections_.scales) + place * record_bytes<F>(FieldScope::block)))
        pare::detail::refuse_parameters<F>(parameters, FieldScope::block, row, g);
      return 0.0;
    } else {
      const float scale = parameters.scale;
      const bool stored = shape_.scale_type == ScaleType::f32   ? put_scale<float>(scale, place)
                          : shape_.scale_type == ScaleType::f16 ? put_scale<Float16>(scale, place)
                                                                : put_scale<BFloat16>(scale, place);
      if (!stored) refuse_scale(scale, shape_.scale_type, row, g);
      const int zero_point = F::zero_point(parameters);
      if constexpr (F::has_zero_point) {
        constexpr int largest = (1 << F::code_bits) - 1;
        if (zero_point < 0 || zero_point > largest) refuse_zero_point(zero_point, largest, row, g);
        at<std::uint8_t>(sections_.zero_points)[place] = static_cast<std::uint8_t>(zero_point);
      }
      const Index count = std::min(shape_.group_length(), shape_.cols - g * shape_.group_length());
      return static_cast<double>(scale) * static_cast<double>(operand_sum - count * zero_point);
    }
  }

  /// Of the whole matrix: those of the first block, which all others share.
  void pack_tensor_parameters() const {
    if (q_.parameters().empty()) return;
    (void)store_parameters<F>(parameters_[0], FieldScope::tensor, at<std::byte>(sections_.tensor));
    pare::detail::require_same_tensor_parameters(q_);
  }

  /// The sum of the weights of a row.
  [[nodiscard]] double sum_of(Index row) const {
    double sum = 0.0;
    for (Index col = 0; col < shape_.cols; ++col) sum += static_cast<double>(q_.value(row, col));
    return sum;
  }

  template <class Stored>
  [[nodiscard]] bool put_scale(float scale, Index place) const noexcept {
    const Stored stored(scale);
    at<Stored>(sections_.scales)[place] = stored;
    return static_cast<float>(stored) == scale && is_finite(static_cast<double>(scale));
  }

  void clear_parameters(Index panel, Index g, Index lane) const noexcept {
    const Index place = (panel * sections_.groups + g) * panel_channels + lane;
    const Index scale_bytes =
        StoresOwnParameters<F> ? record_bytes<F>(FieldScope::block) : bits(shape_.scale_type) / 8;
    std::memset(at<std::byte>(sections_.scales) + place * scale_bytes, 0,
                static_cast<std::size_t>(scale_bytes));
    if constexpr (F::has_zero_point && !StoresOwnParameters<F>)
      at<std::uint8_t>(sections_.zero_points)[place] = 0;
  }

  const QuantizedMatrix<F>& q_;
  const std::uint8_t* codes_;
  const typename F::Parameters* parameters_;
  PackedShape shape_;
  PackedSections sections_;
  std::span<const std::int32_t> order_;
  ArrangeCodes arrange_;
  std::byte* bytes_;
};

}  // namespace kernels::detail

/// Arranges a quantized weight for matmul: any shape, any group size, with or without group index.
///
/// Errors    ArgumentError naming row and column of a code that the format does not have, or row
///           and group of a scale that is not finite or no number of the scale type, of a zero
///           point outside [0, 2^b - 1] or of a parameter that its own type does not hold
/// Order     independent of the number of threads
template <Format F>
[[nodiscard]] PackedMatrix<F> pack(const QuantizedMatrix<F>& q, const Execution& execution = {}) {
  const std::vector<std::int32_t> order = q.column_order();
  const PackedShape shape{q.rows(), q.cols(), q.group_size(), q.scale_type(), !order.empty()};
  const kernels::PackedSections sections = kernels::packed_sections<F>(shape);
  HugePageMemory memory(static_cast<std::size_t>(sections.size_bytes));
  const kernels::detail::PanelPacker<F> packer(
      q, shape, order, kernels::detail::select_arrangement<F>(execution.force), memory.data());
  execution.parallel_for(shape.panels(), [&](Index panel) { packer.pack(panel); });
  kernels::detail::finish_sections(sections, order, memory.data());
  return PackedMatrix<F>(shape, PackedStorage(std::move(memory)));
}

}  // namespace pare
