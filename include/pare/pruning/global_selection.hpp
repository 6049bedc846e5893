#pragma once

#include <string>
#include <utility>

#include "pare/formats/mask.hpp"
#include "pare/pruning/selection.hpp"

namespace pare {

struct GlobalSelection {
  double sparsity = 0.5;
  CountRounding rounding = CountRounding::half_to_even;
  /// A matrix that would lose more keeps its highest scores; so many fewer weights are removed.
  Index least_kept = 0;
};

/// Removes the lowest scores of many matrices together, exactly as many as the share says; of equal
/// ones those of the first matrix, and in it of the lowest index, go first.
///
///     select_global<float>(layers, [&](Index layer) { return magnitude_scores(w[layer]); },
///                          {.sparsity = 0.8}, [&](Index layer, Mask mask) { ... });
///
/// `scores(layer)` returns a matrix, view or owner, and is called four times for each of the
/// `count` layers, in order, with the same result each time; then no more than one matrix need be
/// in memory. `write(layer, mask)` comes in the last of the four passes.
///
/// Memory    a table of counts: 16 KB for float, 32 MB for double
/// Errors    ArgumentError for a sparsity outside [0, 1]; NumericError naming layer and score for
///           NaN
template <class T, class Scores, class Write>
void select_global(Index count, Scores&& scores, const GlobalSelection& selection, Write&& write) {
  (void)removed_count(0, selection.sparsity);
  using Key = detail::order_key_of<T>;
  detail::RadixRank<Key> rank;
  Index total = 0, removed = 0;
  for (int pass = 0; pass < detail::RadixRank<Key>::passes; ++pass) {
    for (Index layer = 0; layer < count; ++layer) {
      const auto& own = scores(layer);
      const MatrixView<const T> view(own);
      if (pass == 0)
        with_context("layer " + std::to_string(layer), [&] { detail::require_ordered(view); });
      for (Index i = 0; i < view.rows(); ++i)
        rank.add(view.cols(), [&](Index j) { return detail::order_key(view(i, j)); });
      if (pass == 0) total += view.rows() * view.cols();
    }
    if (pass == 0) removed = removed_count(total, selection.sparsity, selection.rounding);
    if (removed > 0) rank.finish_pass(removed);
  }
  detail::SmallestKeys<Key> smallest = rank.result(removed);
  for (Index layer = 0; layer < count; ++layer) {
    const auto& own = scores(layer);
    const MatrixView<const T> view(own);
    Mask mask(view.rows(), view.cols());
    for (Index i = 0; i < view.rows() && removed > 0; ++i)
      for (Index j = 0; j < view.cols(); ++j)
        if (smallest.take(detail::order_key(view(i, j)))) mask.set(i, j, false);
    if (const Index least = std::min(selection.least_kept, mask.size()); mask.kept() < least)
      mask = select(view, {.count = mask.size() - least});
    write(layer, std::move(mask));
  }
}

}  // namespace pare
