#pragma once

#include <algorithm>

#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace pare::kernels {

/// Cuts the columns of a weight into the pieces that have one scale of the weight and one of the
/// activations. Calls `f(Segment)` in order.
///
/// Ends of activation groups must be ends of units: see groups_fit.
template <class F>
void for_each_segment(const PackedView& w, Index activation_group, F&& f) {
  const bool row = w.groups() == 1 && activation_group >= w.cols && w.cols <= max_row_sum;
  const Index longest = row ? max_row_sum : max_segment;
  for (Index g = 0; g < w.groups(); ++g) {
    const Index begin = g * w.group_length, end = std::min(w.cols, begin + w.group_length);
    for (Index column = begin; column < end;) {
      const Index part_of = column / activation_group;
      const Index stop = std::min({end, column + longest, (part_of + 1) * activation_group});
      f(Segment{g * w.first.group_units + (column - begin) / w.unit,
                ceil_div(stop - column, w.unit), g, part_of});
      column = stop;
    }
  }
}

/// Whether the weight has integers for codes, and every group of the activations ends where a unit
/// of the weight does, or where a group does.
[[nodiscard]] inline bool groups_fit(const PackedView& w, Index activation_group) noexcept {
  if (!w.codebook) return false;
  if (activation_group >= w.cols) return true;
  if (w.order) return false;
  if (activation_group % w.group_length == 0) return true;
  for (Index column = activation_group; column < w.cols; column += activation_group)
    if (column % w.group_length % w.unit != 0) return false;
  return true;
}

/// k/4 per step of tiles that read activations in rows of up to 64 bytes: a group's steps are
/// alike, pieces of a row start where a whole step does.
[[nodiscard]] inline Index step_quads(const PackedView& w, Index activation_group) noexcept {
  constexpr Index most = 16;
  Index longest = 0, count = 0;
  for_each_segment(w, activation_group, [&](const Segment& s) {
    longest = std::max(longest, s.units * w.unit / 4);
    ++count;
  });
  if (longest <= most || count == 1) return std::min(longest, most);
  return ceil_div(longest, ceil_div(longest, most));
}

}  // namespace pare::kernels
