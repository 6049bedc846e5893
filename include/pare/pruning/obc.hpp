#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/prune_result.hpp"
#include "pare/pruning/refit.hpp"
#include "pare/pruning/selection.hpp"
#include "pare/solvers/damped_inverse.hpp"
#include "pare/solvers/obs_row.hpp"

namespace pare {

struct ObcOptions {
  /// Which weights go: a share of the matrix or of each row, of weights or of blocks of one row
  /// and some columns; or N:M.
  Selection selection{};
  /// lambda as a share of the mean of the diagonal.
  double damping = 0.0;
};

/// In which order the rows of a layer lose all their weights to exact OBS, and what each step
/// costs: made once, pruned to any sparsity.
///
/// Source    Frantar and Alistarh, "Optimal Brain Compression", 2022
class ObcPath {
 public:
  /// Blocks of `block` neighbours in a row go as one. Throws as obc.
  ObcPath(MatrixView<const float> w, const Hessian& h, Index block = 1, double damping = 0.0,
          const Execution& execution = {});

  /// (rows, steps): by how much the squared error tr(dW H dWᵀ), damped, grows with each step. A
  /// weight that is zero, or whose input was always zero, goes first at cost 0.
  [[nodiscard]] const Matrix<double>& costs() const noexcept { return costs_; }
  /// (rows, steps): which block goes.
  [[nodiscard]] const Matrix<std::int32_t>& order() const noexcept { return order_; }

  /// The cheapest `count` of all recorded steps: as many as fall to a row are its first steps. Of
  /// equal ones those of the lowest row go first. Throws ArgumentError for more than there are.
  [[nodiscard]] PruneResult remove(Index count, const Execution& execution = {}) const;
  /// The same number of steps in each row.
  [[nodiscard]] PruneResult remove_in_each_row(Index count, const Execution& execution = {}) const;

 private:
  friend PruneResult obc(MatrixView<const float> w, const Hessian& h, const ObcOptions& options,
                         const Execution& execution);

  ObcPath(MatrixView<const float> w, const Hessian& h, Index block, double damping, Index keep,
          Index of, const Execution& execution);
  [[nodiscard]] PruneResult remove_steps(const std::vector<Index>& steps,
                                         const Execution& execution) const;

  Index block_;
  Matrix<float> w_;
  Matrix<double> h_, costs_;
  Matrix<std::int32_t> order_;
  std::vector<char> dead_;
  PruneReport damped_;
};

inline ObcPath::ObcPath(MatrixView<const float> w, const Hessian& h, Index block, double damping,
                        const Execution& execution)
    : ObcPath(w, h, block, damping, 0, 0, execution) {}

inline ObcPath::ObcPath(MatrixView<const float> w, const Hessian& h, Index block, double damping,
                        Index keep, Index of, const Execution& execution)
    : block_(block) {
  detail::require_fit(w.shape(), h);
  const Index rows = w.rows(), n = w.cols();
  detail::require_obc_inputs(n);
  if (block < 1 || n % block != 0)
    throw ArgumentError("rows of " + std::to_string(n) + " weights do not divide into blocks of " +
                        std::to_string(block));
  require_finite(w, "weight");
  w_ = Matrix<float>(w);
  with_standard_floats(execution, [&](const Execution& standard) {
    h_ = h.matrix(standard);
    dead_ = detail::dead_columns(h_);
    for (Index j = 0; j < n; ++j)
      if (dead_[static_cast<std::size_t>(j)])
        for (Index i = 0; i < rows; ++i) w_(i, j) = 0.0f;
    const detail::DampedInverse damped = detail::damped_inverse(h_, dead_, damping, standard);
    detail::note_damping(damped.used, damped_);
    const Index blocks = n / block, steps = of == 0 ? blocks : n / of * (of - keep);
    costs_ = Matrix<double>({rows, steps});
    order_ = Matrix<std::int32_t>({rows, steps});
    const auto remove_all = [&](detail::ObsRow& row, Index i) {
      std::vector<Index> gone(static_cast<std::size_t>(of == 0 ? 0 : n / of));
      const auto cost = [&](Index p) {
        const bool may_go =
            of == 0 || gone[static_cast<std::size_t>(row.block_at(p) / of)] < of - keep;
        return may_go ? row.removal_cost(p) : -1.0;
      };
      row.restart(&w_(i, 0));
      for (Index step = 0; step < steps; ++step) {
        const auto [position, least] = row.cheapest(cost);
        const Index own = row.block_at(position);
        costs_(i, step) = least;
        order_(i, step) = static_cast<std::int32_t>(own);
        if (of != 0) ++gone[static_cast<std::size_t>(own / of)];
        row.fix(position);
      }
    };
    detail::for_each_obs_row(rows, damped.inverse, block, remove_all, standard.parallel_for);
  });
}

inline PruneResult ObcPath::remove(Index count, const Execution& execution) const {
  if (count < 0 || count > costs_.size())
    throw ArgumentError(std::to_string(count) + " of " + std::to_string(costs_.size()) +
                        " weights or blocks are to be removed");
  std::vector<Index> order(static_cast<std::size_t>(costs_.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return costs_.data()[a] < costs_.data()[b]; });
  std::vector<Index> steps(static_cast<std::size_t>(costs_.rows()));
  for (Index k = 0; k < count; ++k)
    ++steps[static_cast<std::size_t>(order[static_cast<std::size_t>(k)] / costs_.cols())];
  return remove_steps(steps, execution);
}

inline PruneResult ObcPath::remove_in_each_row(Index count, const Execution& execution) const {
  if (count < 0 || count > costs_.cols())
    throw ArgumentError(std::to_string(count) + " of " + std::to_string(costs_.cols()) +
                        " weights or blocks of a row are to be removed");
  return remove_steps(std::vector<Index>(static_cast<std::size_t>(costs_.rows()), count),
                      execution);
}

inline PruneResult ObcPath::remove_steps(const std::vector<Index>& steps,
                                         const Execution& execution) const {
  Mask mask(w_.rows(), w_.cols());
  for (Index i = 0; i < w_.rows(); ++i)
    for (Index step = 0; step < steps[static_cast<std::size_t>(i)]; ++step)
      for (Index k = 0; k < block_; ++k) mask.set(i, order_(i, step) * block_ + k, false);
  // All steps of a row together are one least-squares problem.
  PruneResult result = with_standard_floats(execution, [&](const Execution& standard) {
    return detail::refit_on(w_, h_, dead_, mask, damped_.damping_used, standard);
  });
  result.report.factorizations += damped_.factorizations;
  return result;
}

/// Removes weights of each row one at a time by exact OBS: the one whose removal, made up for by
/// the others, costs least, again and again. How many go of each row follows from what their steps
/// cost.
///
/// Shapes    w (out_features, in_features) of up to 1,024 inputs
/// Values    of the matrix: the cheapest steps of all rows; in N:M a group that has lost M - N
///           weights is left alone. Weights of inputs that were always zero go first, at no cost.
///           The authors remove ceil(sparsity n): selection.rounding = CountRounding::up
/// Errors    ShapeError; ArgumentError for more inputs, blocks of several rows or that do not
///           divide a row, a selection within a mask, and as select; NumericError naming a weight
///           that is not finite, or when the Hessian has no positive mean diagonal
/// Edge      where the Hessian is not positive definite, damping grows tenfold until it is
/// Accuracy  float64, rounded to float32 once
/// Cost      in_features^3 / 3 operations for each row
/// Order     independent of the number of threads
/// Source    Frantar and Alistarh, "Optimal Brain Compression", 2022, Alg. 1 and 2
[[nodiscard]] inline PruneResult obc(MatrixView<const float> w, const Hessian& h,
                                     const ObcOptions& options = {},
                                     const Execution& execution = {}) {
  const Selection& selection = options.selection;
  detail::require_valid(selection, w.shape());
  if (selection.within || selection.block_rows != 1)
    throw ArgumentError("exact OBS removes weights or blocks of one row, and not within a mask");
  if (selection.of != 0) {
    const ObcPath path(w, h, 1, options.damping, selection.keep, selection.of, execution);
    return path.remove_in_each_row(path.costs().cols(), execution);
  }
  const Index block =
      selection.block_cols == -1 ? std::max<Index>(1, w.cols()) : selection.block_cols;
  const ObcPath path(w, h, block, options.damping, execution);
  if (selection.scope == SelectionScope::row)
    return path.remove_in_each_row(detail::count_of(selection, path.costs().cols()), execution);
  return path.remove(detail::count_of(selection, path.costs().size()), execution);
}

}  // namespace pare
