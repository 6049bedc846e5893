#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/solvers/removed_count.hpp"

namespace pare {

struct CumulativeSelection {
  /// The share of the matrix that is removed, so far as `tolerance` goes.
  double sparsity = 0.5;
  /// Bisection ends when the sparsity is that near.
  double tolerance = 0.001;
  /// No row loses more of its scores than this share; large sparsities may not be reached by it.
  double largest_share = 0.8;
};

/// Removes of each row the lowest scores that together are at most a share of the row's sum, the
/// same share for all rows: found by bisection, so that the matrix has the sparsity. A row whose
/// scores are much alike loses fewer than one with many small ones.
///
///     const Mask mask = select_cumulative(wanda_scores(w, norms), {.sparsity = 0.5});
///
/// Shapes    scores (rows, cols), from 0
/// Values    as near to the sparsity as ties let it; of equal scores the lowest index goes first
/// Errors    ArgumentError for options out of range; NumericError naming a score that is negative
///           or not finite
/// Edge      what scores 0 always goes, a whole row of zeros too; of another row the best stays
/// Accuracy  sums in double
/// Order     independent of the number of threads
/// Source    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models"
///           (Wanda), 2023, the variant of its appendix and of the authors' code. Departs: they
///           end when the share is known to 0.001, and also remove what equals the last score
[[nodiscard]] inline Mask select_cumulative(MatrixView<const float> scores,
                                            const CumulativeSelection& selection = {},
                                            const Execution& execution = {}) {
  (void)removed_count(0, selection.sparsity);
  if (!(selection.tolerance > 0.0) || !is_finite(selection.tolerance))
    throw ArgumentError("the tolerance of a sparsity is above 0, not " +
                        std::to_string(selection.tolerance));
  if (!(selection.largest_share >= 0.0 && selection.largest_share <= 1.0))
    throw ArgumentError("the largest share of scores is in [0, 1], not " +
                        std::to_string(selection.largest_share));
  const Index rows = scores.rows(), cols = scores.cols();
  // Of each row its columns by rising score, and what they sum up to.
  Matrix<Index> order({rows, cols});
  Matrix<double> sums({rows, cols});
  execution.parallel_for(rows, [&](Index i) {
    for (Index j = 0; j < cols; ++j)
      if (!is_finite(static_cast<double>(scores(i, j))) || scores(i, j) < 0.0f)
        throw NumericError("the score at " + to_string(Shape<2>{i, j}) + " is " +
                           std::to_string(scores(i, j)) + ", not a number from 0");
    Index* const own = &order(i, 0);
    std::iota(own, own + cols, Index{0});
    std::stable_sort(own, own + cols,
                     [&](Index a, Index b) { return scores(i, a) < scores(i, b); });
    double sum = 0.0;
    for (Index k = 0; k < cols; ++k) sums(i, k) = sum += static_cast<double>(scores(i, own[k]));
  });
  Vector<Index> removed({rows});
  const auto sparsity_at = [&](double share) {
    execution.parallel_for(rows, [&](Index i) {
      const double* const own = &sums(i, 0);
      removed[i] = std::upper_bound(own, own + cols, share * own[cols - 1]) - own;
    });
    const Index all = std::accumulate(removed.data(), removed.data() + rows, Index{0});
    return static_cast<double>(all) / static_cast<double>(rows * cols);
  };
  Mask mask(rows, cols);
  if (mask.size() == 0) return mask;
  constexpr double smallest_step = 1e-9;
  double below = 0.0, above = selection.largest_share, share = above / 2.0;
  for (double reached = sparsity_at(share);
       std::fabs(reached - selection.sparsity) > selection.tolerance &&
       above - below > smallest_step;
       reached = sparsity_at(share)) {
    (reached > selection.sparsity ? above : below) = share;
    share = (below + above) / 2.0;
  }
  execution.parallel_for(rows, [&](Index i) {
    for (Index k = 0; k < removed[i]; ++k) mask.set(i, order(i, k), false);
  });
  return mask;
}

}  // namespace pare
