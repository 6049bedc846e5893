#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/pruning/structure/axis_table.hpp"
#include "pare/pruning/structure/channel_group.hpp"
#include "pare/pruning/structure/couplings.hpp"
#include "pare/pruning/structure/element_sets.hpp"

/// Removals as data, and what they leave of the axes of a network.
namespace pare {

/// A removal as plain data: the channels with these indices of the axis `root`. Extent and indices
/// are those of the axis as it was added, so that edits may be applied in any order.
struct StructureEdit {
  AxisName root;
  Index extent = 0;
  std::vector<Index> indices{};
  friend bool operator==(const StructureEdit&, const StructureEdit&) = default;
};

/// What a removal left of an axis: indices before it, ascending.
struct AxisCut {
  AxisName axis;
  bool stored = true;
  std::vector<Index> kept{};
};

/// A number of a model's configuration that follows from extents:
/// extent(axis) / (divisor * extent(divisor_axis)), where an empty name counts as 1.
struct StructureAttribute {
  std::string name;
  AxisName axis;
  Index divisor = 1;
  AxisName divisor_axis{};
};

namespace detail {

/// What axes are about to become: indices as they were added.
using PendingAxes = std::map<std::size_t, std::vector<Index>>;

/// Its value once axes are what they are about to become; throws ArgumentError when it is not
/// whole.
[[nodiscard]] inline Index value_of(const StructureAttribute& attribute, const AxisTable& axes,
                                    const PendingAxes& pending) {
  const auto extent_then = [&](const AxisName& name) {
    const std::size_t a = axes.find(name);
    const auto changed = pending.find(a);
    return changed == pending.end() ? axes.extent(a) : static_cast<Index>(changed->second.size());
  };
  const Index extent = extent_then(attribute.axis);
  Index divisor = attribute.divisor;
  if (!attribute.divisor_axis.tensor.empty()) divisor *= extent_then(attribute.divisor_axis);
  if (extent % divisor != 0)
    throw ArgumentError(attribute.name + " would not be whole: " + to_string(attribute.axis) +
                        " of " + std::to_string(extent) + " in parts of " +
                        std::to_string(divisor));
  return extent / divisor;
}

/// Throws ArgumentError unless all runs that are left are equal.
inline void require_balance(const AxisBalance& balance, const AxisTable& axes,
                            const std::vector<Index>& alive) {
  std::vector<Index> left(to_size(balance.runs));
  for (const Index origin : alive)
    if (const Index run = balance.run_of[to_size(origin)]; run != no_channel) ++left[to_size(run)];
  const Index most = *std::max_element(left.begin(), left.end());
  for (const Index count : left)
    if (count != 0 && count != most)
      throw ArgumentError("runs of " + to_string(axes[balance.axis].name) +
                          " would no longer be equal: " + std::to_string(count) + " and " +
                          std::to_string(most) + " are left");
}

/// What an edit leaves of the axes that it cuts. Throws ArgumentError when it may not.
[[nodiscard]] inline PendingAxes axes_after(const StructureEdit& edit, const AxisTable& axes,
                                            const ElementSets& sets) {
  const std::size_t root_axis = axes.find(edit.root);
  const AxisTable::Axis& root = axes[root_axis];
  if (edit.extent != root.extent)
    throw ShapeError("an edit of " + to_string(edit.root) + " of " + std::to_string(edit.extent) +
                     " does not fit a graph where it has " + std::to_string(root.extent));
  std::map<std::size_t, std::vector<Index>> removed;  // by axis, as they were added
  std::set<Index> seen;
  for (const Index origin : edit.indices) {
    const std::string where = "index " + std::to_string(origin) + " of " + to_string(edit.root);
    require_index(origin, root.extent, to_string(edit.root));
    if (!std::binary_search(root.alive.begin(), root.alive.end(), origin))
      throw ArgumentError(where + " was removed before");
    const Index first = axes.element(root_axis, origin);
    if (sets.is_alone(first)) throw ArgumentError("nothing is coupled to " + where);
    if (sets.is_fixed(first)) throw ArgumentError(where + " is to be kept");
    if (!seen.insert(sets.root_of(first)).second) continue;
    sets.for_each_with(first, [&](Index e) {
      const std::size_t a = axes.axis_of(e);
      removed[a].push_back(e - axes[a].first_element);
    });
  }
  PendingAxes left;
  for (auto& [a, origins] : removed) {
    std::sort(origins.begin(), origins.end());
    std::vector<Index>& alive = left[a];
    std::set_difference(axes[a].alive.begin(), axes[a].alive.end(), origins.begin(), origins.end(),
                        std::back_inserter(alive));
    if (alive.empty()) throw ArgumentError("nothing would be left of " + to_string(axes[a].name));
  }
  return left;
}

/// The same as indices of the axes before.
[[nodiscard]] inline std::vector<AxisCut> cuts_of(const AxisTable& axes, const PendingAxes& left) {
  std::vector<AxisCut> cuts;
  for (const auto& [a, alive] : left) {
    AxisCut& cut = cuts.emplace_back(AxisCut{axes[a].name, axes[a].stored, {}});
    std::size_t k = 0;
    for (std::size_t i = 0; i < axes[a].alive.size() && k < alive.size(); ++i)
      if (axes[a].alive[i] == alive[k]) {
        cut.kept.push_back(static_cast<Index>(i));
        ++k;
      }
  }
  return cuts;
}

}  // namespace detail
}  // namespace pare
