#pragma once

#include <cmath>

#include "pare/pruning/score.hpp"

namespace pare {

/// |w| times the norm of its input: meant for comparison within a row, or a group of N:M.
///
///     score_ij = |w_ij| sqrt(s_j),   s_j = a sum or mean over tokens of x_j^2
///
/// Shapes    w (out, in); squared_input_norms (in), as ActivationMoments or a Hessian's diagonal
///           have them. All 1 is magnitude
/// Errors    ShapeError; NumericError naming a weight that is not finite or a norm that is not a
///           number from 0, and for a score beyond float
/// Edge      weights of an input that is always zero have 0
/// Source    Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", 2023
[[nodiscard]] inline Matrix<float> wanda_scores(MatrixView<const float> w,
                                                VectorView<const float> squared_input_norms,
                                                const Execution& execution = {}) {
  require_finite(w, "weight");
  detail::require_input_norms(squared_input_norms, w.cols());
  Vector<double> norms({w.cols()});
  for (Index j = 0; j < w.cols(); ++j)
    norms[j] = std::sqrt(static_cast<double>(squared_input_norms[j]));
  return detail::scores_of(
      w.shape(), [&](Index i, Index j) { return std::fabs(detail::at(w, i, j)) * norms[j]; },
      execution);
}

struct Wanda {
  static constexpr std::string_view name = "wanda";
  using Inputs = WeightsAndInputs;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndInputs& inputs,
                                         const Execution& execution = {}) const {
    return wanda_scores(inputs.w, inputs.squared_input_norms, execution);
  }
};

}  // namespace pare
