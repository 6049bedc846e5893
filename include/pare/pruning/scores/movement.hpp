#pragma once

#include <cmath>
#include <string>

#include "pare/formats/mask.hpp"
#include "pare/pruning/score.hpp"
#include "pare/pruning/selection.hpp"

namespace pare {

/// How far weights move away from zero while they are trained.
///
///     S = -sum over steps of rate * (dL/dW') w,   W' = w * mask(S)
///
/// dL/dW' is the gradient with respect to the masked weight, so that removed weights, which it
/// reaches too, can come back. This is the gradient descent of scores that begin at 0; scores under
/// another optimizer are the caller's, with (dL/dW') w for their gradient.
///
/// Accuracy  float64 sums
class MovementScores {
 public:
  /// Of a weight of this shape. Throws ShapeError for a negative extent.
  explicit MovementScores(const Shape<2>& shape) : sums_(shape) {}

  /// Adds a step: the weight as it was before it. Throws ShapeError for another shape,
  /// ArgumentError for a rate that is negative or not finite and NumericError naming an element
  /// that is not finite; nothing has changed then.
  void add(MatrixView<const float> w, MatrixView<const float> effective_gradient,
           double learning_rate, const Execution& execution = {}) {
    detail::require_shape_of_weight(w.shape(), sums_.shape(), "weight of a step");
    detail::require_shape_of_weight(effective_gradient.shape(), sums_.shape(), "gradient");
    if (!is_finite(learning_rate) || learning_rate < 0.0)
      throw ArgumentError("the learning rate of scores is " + std::to_string(learning_rate));
    require_finite(w, "weight");
    require_finite(effective_gradient, "gradient");
    execution.parallel_for(sums_.rows(), [&](Index i) {
      for (Index j = 0; j < sums_.cols(); ++j)
        sums_(i, j) -= learning_rate * detail::at(effective_gradient, i, j) * detail::at(w, i, j);
    });
  }

  [[nodiscard]] const Shape<2>& shape() const noexcept { return sums_.shape(); }
  /// S in double, for a training that keeps it in a file and goes on from there.
  [[nodiscard]] MatrixView<double> sums() noexcept { return sums_; }
  /// S. Throws NumericError for a sum beyond float.
  [[nodiscard]] Matrix<float> scores() const {
    return detail::scores_of(shape(), [&](Index i, Index j) { return sums_(i, j); });
  }

 private:
  Matrix<double> sums_;
};

namespace detail {

[[nodiscard]] inline double sigmoid(double x) noexcept { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace detail

/// Hard movement pruning: the floor(keep * n) highest scores stay; of equal ones the lowest index
/// goes first.
///
/// Shapes    scores (out, in)
/// Values    keep in [0, 1], see movement_keep
/// Errors    ArgumentError for another share; NumericError naming a score that is not finite
/// Source    Sanh, Wolf and Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020
[[nodiscard]] inline Mask movement_mask(MatrixView<const float> scores, double keep) {
  if (!(keep >= 0.0 && keep <= 1.0))
    throw ArgumentError("a share of " + std::to_string(keep) + " is outside [0, 1]");
  require_finite(scores, "the matrix of scores");
  const auto kept = static_cast<Index>(std::floor(keep * static_cast<double>(scores.size())));
  return select(scores, {.count = scores.size() - kept});
}

/// Soft movement pruning: what stays has sigmoid(S) > threshold, however many that are, but never
/// fewer than floor(0.005 n) + 1, the highest.
///
/// Values    threshold in [0, 1]: a probability, not a share
/// Errors    as movement_mask
/// Source    as movement_mask
[[nodiscard]] inline Mask movement_soft_mask(MatrixView<const float> scores, double threshold) {
  if (!(threshold >= 0.0 && threshold <= 1.0))
    throw ArgumentError("a threshold of " + std::to_string(threshold) + " is outside [0, 1]");
  require_finite(scores, "the matrix of scores");
  if (scores.empty()) return Mask(scores.rows(), scores.cols());
  Mask mask(scores.rows(), scores.cols(), false);
  for (Index i = 0; i < scores.rows(); ++i)
    for (Index j = 0; j < scores.cols(); ++j)
      mask.set(i, j, detail::sigmoid(detail::at(scores, i, j)) > threshold);
  const Index least =
      static_cast<Index>(std::floor(0.005 * static_cast<double>(scores.size()))) + 1;
  return mask.kept() < least ? select(scores, {.count = scores.size() - least}) : mask;
}

/// What soft movement pruning adds to the loss, times its weight: l1 is the mean of sigmoid(S), l0
/// that of sigmoid(S - 2/3 log(0.1 / 1.1)), the chance that a hard concrete gate is open.
enum class MovementPenalty { l1, l0 };

/// Errors    NumericError naming a score that is not finite
/// Edge      0 without scores
/// Source    as movement_mask; l0: Louizos, Welling and Kingma, "Learning Sparse Neural Networks
///           through L0 Regularization", 2018
[[nodiscard]] inline double movement_penalty(MatrixView<const float> scores,
                                             MovementPenalty penalty = MovementPenalty::l1) {
  require_finite(scores, "the matrix of scores");
  const double shift = penalty == MovementPenalty::l0 ? 2.0 / 3.0 * std::log(0.1 / 1.1) : 0.0;
  double sum = 0.0;
  for (Index i = 0; i < scores.rows(); ++i)
    for (Index j = 0; j < scores.cols(); ++j)
      sum += detail::sigmoid(detail::at(scores, i, j) - shift);
  return scores.empty() ? 0.0 : sum / static_cast<double>(scores.size());
}

/// Scores that were gathered in training, as they are.
struct Movement {
  static constexpr std::string_view name = "movement";
  using Inputs = TrainedScores;
  [[nodiscard]] Matrix<float> operator()(const TrainedScores& inputs,
                                         const Execution& execution = {}) const {
    return detail::scores_of(
        inputs.scores.shape(), [&](Index i, Index j) { return inputs.scores(i, j); }, execution);
  }
};

}  // namespace pare
