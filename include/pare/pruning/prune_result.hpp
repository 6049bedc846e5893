#pragma once

#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"

namespace pare {

/// What a method that moves the kept weights did. Losses are tr(dW H dWᵀ), the squared error of the
/// layer's output on what the Hessian has seen, without damping.
struct PruneReport {
  /// Of the mask before the last refinement of the kept weights, where there is one; and of the
  /// result.
  double loss_before = 0.0, loss = 0.0;
  /// The share of the mean diagonal that made the Hessian definite, and what that was.
  double damping_used = 0.0, lambda = 0.0;
  /// Columns whose input was always zero: their weights are zero.
  Index dead_inputs = 0;
  /// Where a method iterates: rounds, matrices that were factored (or remembered from a layer with
  /// the same input), conjugate-gradient steps.
  int iterations = 0, factorizations = 0, conjugate_gradient_steps = 0;
};

struct PruneResult {
  Matrix<float> weight;  ///< zero where the mask is
  Mask mask;
  PruneReport report;
};

}  // namespace pare
