#pragma once

#include <cmath>

#include "pare/pruning/scores/fisher.hpp"
#include "pare/pruning/scores/taylor.hpp"

namespace pare {

/// |w F w|, the second order of a weight's Taylor expansion (LLM-Pruner's `param_second`): twice
/// fisher_scores, so that it orders like them and only its sums with other things differ.
///
/// Shapes    w and fisher_diagonal (out, in), the mean over samples of the squared gradient
/// Errors    as fisher_scores
/// Source    Ma, Fang and Wang, "LLM-Pruner", 2023, and the authors' code
[[nodiscard]] inline Matrix<float> taylor_second_scores(MatrixView<const float> w,
                                                        MatrixView<const float> fisher_diagonal,
                                                        const Execution& execution = {}) {
  detail::require_mean_square(fisher_diagonal, w.shape());
  require_finite(w, "weight");
  const auto score = [&](Index i, Index j) {
    const double v = detail::at(w, i, j);
    return v * detail::at(fisher_diagonal, i, j) * v;
  };
  return detail::scores_of(w.shape(), score, execution);
}

/// |g w - w F w / 2|, first and second order together (LLM-Pruner's `param_mix`): by how much the
/// loss changes when a weight goes. g is the gradient of the mean loss, F as above.
///
/// Shapes    w, gradient and fisher_diagonal (out, in)
/// Errors    as taylor_scores and fisher_scores
/// Source    as taylor_second_scores
[[nodiscard]] inline Matrix<float> taylor_mixed_scores(MatrixView<const float> w,
                                                       MatrixView<const float> gradient,
                                                       MatrixView<const float> fisher_diagonal,
                                                       const Execution& execution = {}) {
  const WeightsAndGradient first{w, gradient};
  detail::require_gradient(first);
  detail::require_mean_square(fisher_diagonal, w.shape());
  const auto score = [&](Index i, Index j) {
    const double v = detail::at(w, i, j);
    return std::fabs(detail::weight_times_gradient(first, i, j) -
                     0.5 * v * detail::at(fisher_diagonal, i, j) * v);
  };
  return detail::scores_of(w.shape(), score, execution);
}

struct TaylorSecond {
  static constexpr std::string_view name = "taylor_second";
  using Inputs = WeightsAndCurvature;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndCurvature& inputs,
                                         const Execution& execution = {}) const {
    return taylor_second_scores(inputs.w, inputs.curvature, execution);
  }
};

struct TaylorMixed {
  static constexpr std::string_view name = "taylor_mixed";
  using Inputs = WeightsGradientAndCurvature;
  [[nodiscard]] Matrix<float> operator()(const WeightsGradientAndCurvature& inputs,
                                         const Execution& execution = {}) const {
    return taylor_mixed_scores(inputs.w, inputs.gradient, inputs.curvature, execution);
  }
};

}  // namespace pare
