#pragma once

#include "pare/pruning/score.hpp"

namespace pare {

/// h w^2 / 2: what the loss gains when a weight goes, to second order, at a minimum and with a
/// diagonal Hessian.
///
/// Shapes    w and hessian_diagonal (out, in)
/// Values    negative where the curvature is, which says that the loss is not at a minimum
/// Errors    ShapeError; NumericError naming an element that is not finite, and for a score beyond
///           float
/// Source    LeCun, Denker and Solla, "Optimal Brain Damage", 1990
[[nodiscard]] inline Matrix<float> obd_scores(MatrixView<const float> w,
                                              MatrixView<const float> hessian_diagonal,
                                              const Execution& execution = {}) {
  detail::require_shape_of_weight(hessian_diagonal.shape(), w.shape(), "diagonal of the Hessian");
  require_finite(w, "weight");
  require_finite(hessian_diagonal, "diagonal of the Hessian");
  const auto score = [&](Index i, Index j) {
    const double v = detail::at(w, i, j);
    return 0.5 * detail::at(hessian_diagonal, i, j) * v * v;
  };
  return detail::scores_of(w.shape(), score, execution);
}

struct Obd {
  static constexpr std::string_view name = "obd";
  using Inputs = WeightsAndCurvature;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndCurvature& inputs,
                                         const Execution& execution = {}) const {
    return obd_scores(inputs.w, inputs.curvature, execution);
  }
};

}  // namespace pare
