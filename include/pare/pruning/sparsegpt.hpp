#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "pare/calibration/hessian.hpp"
#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/lanes.hpp"
#include "pare/core/tensor.hpp"
#include "pare/pruning/prune_result.hpp"
#include "pare/solvers/obs_mask.hpp"

namespace pare {

struct SparseGptOptions {
  /// Which weights go: a share of each block of columns, N:M, or all but a support.
  ObsMaskOptions mask{};
  ObsFactorOptions factor{};
  /// Columns between lazy updates, rounded to whole groups of M.
  Index block_size = 128;
};

/// Removes weights of a linear layer so that its outputs, not its weights, change least: those that
/// stay to the right of a removed one make up for it.
///
///     min over sparse V of tr((W - V) H (W - V)ᵀ),  H = (2 / tokens) xᵀ x
///
/// Shapes    w (rows, n), any strides; a Hessian of n inputs
/// Errors    ShapeError; ArgumentError as ObsMask, for a block size below 1, and for a factor made
///           with other options; NumericError naming a weight that is not finite, and as
///           inverse_factor
/// Edge      weights of inputs that were always zero become zero, and are removed first. The share
///           counts in each block by itself; the authors' code removes one weight more per block
/// Accuracy  the Hessian is factored in float64; weights, errors and updates are float32
/// Order     independent of the number of threads
/// Source    Frantar and Alistarh, "SparseGPT", 2023, Alg. 1
[[nodiscard]] inline PruneResult sparsegpt(MatrixView<const float> w, const ObsFactor& factor,
                                           const SparseGptOptions& options = {},
                                           const Execution& execution = {}) {
  if (factor.in_features() != w.cols())
    throw ShapeError("a Hessian of " + std::to_string(factor.in_features()) +
                     " inputs does not fit the weight of shape " + to_string(w.shape()));
  if (factor.options() != options.factor)
    throw ArgumentError("the Hessian was factored with another damping or column order");
  require_finite(w, "weight");
  ObsMask mask(w.rows(), factor, options.mask);
  PruneResult result;
  with_standard_floats(execution, [&](const Execution& standard) {
    const bool in_order = !factor.options().act_order;
    Matrix<float> visited({w.rows(), w.cols()});
    standard.parallel_for(w.rows(), [&](Index i) {
      if (in_order)
        copy(w.row(i), visited.view().row(i));
      else
        for (Index p = 0; p < w.cols(); ++p)
          visited(i, p) = w(i, factor.order()[static_cast<std::size_t>(p)]);
      if (factor.dead_inputs() == 0) return;
      for (Index p = 0; p < w.cols(); ++p)
        if (factor.is_dead(factor.order()[static_cast<std::size_t>(p)])) visited(i, p) = 0.0f;
    });
    KeepValue keep;
    MaskedRule rule(&mask, keep);
    const double damped = obs_sweep(visited, factor.inverse().upper, rule,
                                    mask.sweep_options(options.block_size), standard);
    if (in_order) {
      result.weight = std::move(visited);
    } else {
      result.weight = Matrix<float>({w.rows(), w.cols()});
      standard.parallel_for(w.rows(), [&](Index i) {
        for (Index p = 0; p < w.cols(); ++p)
          result.weight(i, factor.order()[static_cast<std::size_t>(p)]) = visited(i, p);
      });
    }
    Vector<double> moved({w.rows()});
    standard.parallel_for(w.rows(), [&](Index i) {
      moved[i] = detail::squared_distance(w.row(i), result.weight.view().row(i));
      if (factor.dead_inputs() == 0) return;
      for (Index j = 0; j < w.cols(); ++j)
        if (factor.is_dead(j))
          moved[i] -= static_cast<double>(w(i, j)) * static_cast<double>(w(i, j));
    });
    double total = 0.0;
    for (Index i = 0; i < w.rows(); ++i) total += moved[i];
    result.report.loss = std::max(0.0, damped - factor.inverse().lambda * total);
  });
  result.mask = mask.mask();
  result.report.damping_used = factor.inverse().damping_used;
  result.report.lambda = factor.inverse().lambda;
  result.report.dead_inputs = factor.dead_inputs();
  return result;
}

/// The same for a layer that shares its input with no other.
[[nodiscard]] inline PruneResult sparsegpt(MatrixView<const float> w, const Hessian& h,
                                           const SparseGptOptions& options = {},
                                           const Execution& execution = {}) {
  if (h.in_features() != w.cols())
    throw ShapeError("a Hessian of " + std::to_string(h.in_features()) +
                     " inputs does not fit the weight of shape " + to_string(w.shape()));
  require_finite(w, "weight");
  return sparsegpt(w, ObsFactor(h, options.factor, execution), options, execution);
}

}  // namespace pare
