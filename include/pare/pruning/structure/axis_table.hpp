#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"
#include "pare/pruning/structure/channel_group.hpp"

/// The axes of a network's tensors, by name, with the indices that removals have left of them.
namespace pare::detail {

inline std::size_t to_size(Index i) noexcept { return static_cast<std::size_t>(i); }
inline void require_index(Index i, Index extent, const std::string& where) {
  if (i < 0 || i >= extent)
    throw ArgumentError("index " + std::to_string(i) + " is outside " + where + " of " +
                        std::to_string(extent));
}

/// All indices of all axes, as they were added, are numbered through: those numbers are elements.
class AxisTable {
 public:
  struct Axis {
    AxisName name;
    bool stored = true;
    Index extent = 0, first_element = 0;
    std::vector<Index> alive;  ///< indices as they were added, ascending
  };

  /// Throws ArgumentError for a name that is taken, ShapeError for an extent below 1.
  void add(const std::string& name, const std::vector<Index>& shape,
           const std::vector<std::string>& axes, bool stored) {
    if (tensors_.contains(name)) throw ArgumentError(name + " was added before");
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] < 1)
        throw ShapeError(name + " has an axis of extent " + std::to_string(shape[d]));
      if (std::count(axes.begin(), axes.end(), axes[d]) > 1)
        throw ArgumentError(name + " has two axes named '" + axes[d] + "'");
    }
    const std::size_t first = axes_.size();
    for (std::size_t d = 0; d < shape.size(); ++d) {
      Axis axis{{name, axes[d]}, stored, shape[d], elements(), {}};
      for (Index i = 0; i < shape[d]; ++i) {
        axis.alive.push_back(i);
        axis_of_.push_back(axes_.size());
      }
      axes_.push_back(std::move(axis));
    }
    tensors_.emplace(name, std::pair(first, axes_.size()));
  }

  [[nodiscard]] std::size_t size() const noexcept { return axes_.size(); }
  [[nodiscard]] const Axis& operator[](std::size_t a) const noexcept { return axes_[a]; }
  [[nodiscard]] Index extent(std::size_t a) const noexcept { return std::ssize(axes_[a].alive); }
  void set_alive(std::size_t a, std::vector<Index> alive) { axes_[a].alive = std::move(alive); }

  [[nodiscard]] Index elements() const noexcept { return std::ssize(axis_of_); }
  [[nodiscard]] Index element(std::size_t a, Index origin) const noexcept {
    return axes_[a].first_element + origin;
  }
  [[nodiscard]] std::size_t axis_of(Index element) const noexcept {
    return axis_of_[to_size(element)];
  }

  /// By name: ranges of axes.
  using Range = std::pair<std::size_t, std::size_t>;
  [[nodiscard]] const std::map<std::string, Range>& tensors() const noexcept { return tensors_; }
  [[nodiscard]] Range axes_of(const std::string& tensor) const {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end()) throw ArgumentError("the graph has no tensor " + tensor);
    return found->second;
  }
  [[nodiscard]] std::size_t find(const AxisName& name) const {
    const auto [first, last] = axes_of(name.tensor);
    if (name.axis.empty() && last - first == 1) return first;
    for (std::size_t a = first; a < last; ++a)
      if (axes_[a].name.axis == name.axis) return a;
    throw ArgumentError(name.tensor + " has no axis '" + name.axis + "'");
  }

 private:
  std::vector<Axis> axes_;
  std::vector<std::size_t> axis_of_;  ///< by element
  std::map<std::string, Range> tensors_;
};

/// An axis made of runs that lose as many indices each.
struct AxisBalance {
  std::size_t axis;
  std::vector<Index> run_of;  ///< by index as it was added
  Index runs;
};

}  // namespace pare::detail
