#pragma once

#include "pare/pruning/score.hpp"

namespace pare {

/// w (H g): what the squared norm of the gradient loses when a weight goes, to first order. The
/// lowest, negative ones, are those whose removal makes it larger; they go first. The paper's score
/// has the other sign and removes the highest: the same weights.
///
/// Shapes    w and hessian_gradient (out, in), with g and H of one loss. The paper's loss is the
///           cross entropy of logits divided by a temperature of 200: that is the caller's
/// Errors    ShapeError; NumericError naming an element that is not finite, and for a score beyond
///           float
/// Edge      a weight that is removed already has 0, which is not the lowest
/// Source    Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient Flow",
/// 2020
[[nodiscard]] inline Matrix<float> grasp_scores(MatrixView<const float> w,
                                                MatrixView<const float> hessian_gradient,
                                                const Execution& execution = {}) {
  detail::require_shape_of_weight(hessian_gradient.shape(), w.shape(), "Hessian-gradient product");
  require_finite(w, "weight");
  require_finite(hessian_gradient, "Hessian-gradient product");
  return detail::scores_of(
      w.shape(),
      [&](Index i, Index j) { return detail::at(w, i, j) * detail::at(hessian_gradient, i, j); },
      execution);
}

struct Grasp {
  static constexpr std::string_view name = "grasp";
  using Inputs = WeightsAndHessianGradient;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndHessianGradient& inputs,
                                         const Execution& execution = {}) const {
    return grasp_scores(inputs.w, inputs.hessian_gradient, execution);
  }
};

}  // namespace pare
