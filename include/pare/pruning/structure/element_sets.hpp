#pragma once

#include <utility>
#include <vector>

#include "pare/pruning/structure/axis_table.hpp"

namespace pare::detail {

/// Sets of elements (AxisTable) that go together: trees whose elements are also in a ring.
class ElementSets {
 public:
  /// Each new element is a set of its own.
  void grow(Index elements) {
    for (Index e = std::ssize(parent_); e < elements; ++e) {
      next_.push_back(e);
      parent_.push_back(e);
      size_.push_back(1);
      fixed_.push_back(0);
    }
  }

  /// An element that stands for its set.
  [[nodiscard]] Index root_of(Index e) const noexcept {
    while (parent_[to_size(e)] != e) e = parent_[to_size(e)];
    return e;
  }
  [[nodiscard]] bool is_alone(Index e) const noexcept { return next_[to_size(e)] == e; }
  template <class F>
  void for_each_with(Index first, F f) const {
    Index e = first;
    do {
      f(e);
      e = next_[to_size(e)];
    } while (e != first);
  }
  void unite(Index a, Index b) {
    for (Index* e : {&a, &b}) {
      const Index root = root_of(*e);
      while (*e != root) *e = std::exchange(parent_[to_size(*e)], root);
    }
    if (a == b) return;
    if (size_[to_size(a)] < size_[to_size(b)]) std::swap(a, b);
    parent_[to_size(b)] = a;
    size_[to_size(a)] += size_[to_size(b)];
    fixed_[to_size(a)] = static_cast<char>(fixed_[to_size(a)] | fixed_[to_size(b)]);
    std::swap(next_[to_size(a)], next_[to_size(b)]);
  }

  /// A set with an element that must stay.
  void fix(Index e) { fixed_[to_size(root_of(e))] = 1; }
  [[nodiscard]] bool is_fixed(Index e) const noexcept { return fixed_[to_size(root_of(e))] != 0; }

 private:
  std::vector<Index> parent_, next_;
  std::vector<Index> size_;  ///< of trees, true of their roots
  std::vector<char> fixed_;  ///< true of roots of trees
};

}  // namespace pare::detail
