#pragma once

#include <cmath>

#include "pare/pruning/score.hpp"

namespace pare {
namespace detail {

[[nodiscard]] inline double weight_times_gradient(const WeightsAndGradient& inputs, Index i,
                                                  Index j) noexcept {
  return at(inputs.w, i, j) * at(inputs.gradient, i, j);
}

inline void require_gradient(const WeightsAndGradient& inputs) {
  require_shape_of_weight(inputs.gradient.shape(), inputs.w.shape(), "gradient");
  require_finite(inputs.w, "weight");
  require_finite(inputs.gradient, "gradient");
}

}  // namespace detail

/// |g w|: how much the loss changes when a weight goes, to first order. g is the gradient of the
/// mean loss; for the change of a whole channel see taylor_channel_scores.
///
/// Shapes    w and gradient (out, in)
/// Errors    ShapeError; NumericError naming an element that is not finite, and for a score beyond
///           float
/// Edge      what is below float's range is 0
/// Source    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
///           Inference", 2017
[[nodiscard]] inline Matrix<float> taylor_scores(MatrixView<const float> w,
                                                 MatrixView<const float> gradient,
                                                 const Execution& execution = {}) {
  const WeightsAndGradient inputs{w, gradient};
  detail::require_gradient(inputs);
  return detail::scores_of(
      w.shape(),
      [&](Index i, Index j) { return std::fabs(detail::weight_times_gradient(inputs, i, j)); },
      execution);
}

/// (g w)^2. As taylor_scores, in another unit: sums over a channel differ.
///
/// Source    Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019
[[nodiscard]] inline Matrix<float> taylor_squared_scores(MatrixView<const float> w,
                                                         MatrixView<const float> gradient,
                                                         const Execution& execution = {}) {
  const WeightsAndGradient inputs{w, gradient};
  detail::require_gradient(inputs);
  const auto score = [&](Index i, Index j) {
    const double change = detail::weight_times_gradient(inputs, i, j);
    return change * change;
  };
  return detail::scores_of(w.shape(), score, execution);
}

struct Taylor {
  static constexpr std::string_view name = "taylor";
  using Inputs = WeightsAndGradient;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndGradient& inputs,
                                         const Execution& execution = {}) const {
    return taylor_scores(inputs.w, inputs.gradient, execution);
  }
};

struct TaylorSquared {
  static constexpr std::string_view name = "taylor_squared";
  using Inputs = WeightsAndGradient;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndGradient& inputs,
                                         const Execution& execution = {}) const {
    return taylor_squared_scores(inputs.w, inputs.gradient, execution);
  }
};

}  // namespace pare
