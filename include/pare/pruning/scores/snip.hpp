#pragma once

#include <span>

#include "pare/pruning/scores/taylor.hpp"

namespace pare {

/// |g w|, with the gradient of a mini-batch at initialization: how much the loss depends on whether
/// a weight is connected. The formula of `taylor_scores`; what differs is when it is asked.
///
/// Shapes    w and gradient (out, in); where some weights are masked, g is the gradient with
///           respect to the masked weight
/// Errors    as taylor_scores
/// Edge      a removed weight can have a high score: what schedules prune in rounds must stay
///           removed
/// Source    Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", 2019
[[nodiscard]] inline Matrix<float> snip_scores(MatrixView<const float> w,
                                               MatrixView<const float> gradient,
                                               const Execution& execution = {}) {
  return taylor_scores(w, gradient, execution);
}

/// Divides the scores of all layers by their sum, as the paper states them, and returns the sum.
/// It changes no order. Nothing changes where the sum is 0.
///
/// Errors    NumericError for a score that is negative or not finite
inline double normalize_snip(std::span<const MatrixView<float>> layers) {
  double sum = 0.0;
  for (const MatrixView<float>& scores : layers) {
    require_finite(scores, "the matrix of scores");
    for (Index i = 0; i < scores.rows(); ++i)
      for (Index j = 0; j < scores.cols(); ++j) {
        if (scores(i, j) < 0.0f)
          throw NumericError("the score at " + to_string(Shape<2>{i, j}) + " is negative");
        sum += static_cast<double>(scores(i, j));
      }
  }
  if (sum == 0.0) return sum;
  for (const MatrixView<float>& scores : layers)
    for (Index i = 0; i < scores.rows(); ++i)
      for (Index j = 0; j < scores.cols(); ++j)
        scores(i, j) = static_cast<float>(static_cast<double>(scores(i, j)) / sum);
  return sum;
}

struct Snip {
  static constexpr std::string_view name = "snip";
  using Inputs = WeightsAndGradient;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndGradient& inputs,
                                         const Execution& execution = {}) const {
    return snip_scores(inputs.w, inputs.gradient, execution);
  }
};

}  // namespace pare
