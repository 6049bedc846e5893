#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/dispatch/arrange_codes.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/packed_matrix.hpp"

namespace pare {

namespace kernels::detail {

/// Writes the rows of a panel back.
template <Format F>
void unpack_panel(const PackedPanel& panel, const std::int32_t* order, Index index,
                  QuantizedMatrix<F>& q) {
  using Codes = packed_codes<F>;
  const Index first = index * panel_channels, length = q.group_length(), groups = q.groups();
  const Index lanes = std::min(panel_channels, q.rows() - first);
  auto* const codes = reinterpret_cast<std::uint8_t*>(q.codes().data() + first * q.cols());
  typename F::Parameters* const parameters = q.parameters().data() + first * groups;
  for (Index g = 0; g < groups; ++g) {
    const std::uint32_t* unit = panel.codes + g * panel.group_units * Codes::unit_words;
    const Index end = std::min((g + 1) * length, q.cols());
    for (Index position = g * length; position < end; position += arranged_columns) {
      const Index count = std::min(arranged_columns, end - position);
      std::uint8_t restored[panel_channels * arranged_columns];
      restore_codes<F>(unit, count, restored);
      unit += ceil_div(count, Codes::unit) * Codes::unit_words;
      for (Index lane = 0; lane < lanes; ++lane) {
        const std::uint8_t* from = restored + lane * arranged_columns;
        std::uint8_t* const row = codes + lane * q.cols();
        if (!order)
          std::memcpy(row + position, from, static_cast<std::size_t>(count));
        else
          for (Index k = 0; k < count; ++k) row[order[position + k]] = from[k];
      }
    }
    for (Index lane = 0; lane < lanes; ++lane) {
      typename F::Parameters& p = parameters[lane * groups + g];
      p = load_parameters<F>(panel, g, lane);
    }
  }
}

/// A matrix of a packed one's shape and groups.
template <class Packed>
[[nodiscard]] QuantizedMatrix<typename Packed::format> unpack_groups(const Packed& packed) {
  QuantizedMatrix<typename Packed::format> q(packed.rows(), packed.cols(), packed.group_size(),
                                             packed.scale_type());
  const std::span<const std::int32_t> order = packed.column_order();
  if (order.empty()) return q;
  std::vector<std::int32_t> group_index(order.size());
  for (std::size_t p = 0; p < order.size(); ++p)
    group_index[static_cast<std::size_t>(order[p])] =
        static_cast<std::int32_t>(static_cast<Index>(p) / q.group_length());
  q.set_group_index(group_index);
  return q;
}

}  // namespace kernels::detail

/// The canonical form back: pack(unpack(p)) == p.
///
/// Order     independent of the number of threads
template <Format F>
[[nodiscard]] QuantizedMatrix<F> unpack(const PackedMatrix<F>& packed,
                                        const Execution& execution = {}) {
  QuantizedMatrix<F> q = kernels::detail::unpack_groups(packed);
  const kernels::PackedView view = packed.view();
  execution.parallel_for(packed.panels(), [&](Index panel) {
    kernels::detail::unpack_panel(view.panel(panel), view.order, panel, q);
  });
  return q;
}

}  // namespace pare
