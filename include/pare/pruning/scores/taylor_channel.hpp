#pragma once

#include <cmath>

#include "pare/pruning/channels.hpp"

namespace pare {

/// How the changes g w of a channel's weights become one number.
enum class TaylorReduction {
  sum_of_magnitudes,  ///< sum |g w|: weights that each matter, whatever their signs
  magnitude_of_sum,   ///< |sum g w|: the first order of removing the channel as a whole
  sum_of_squares,     ///< sum (g w)^2
  square_of_sum,      ///< (sum g w)^2: of a gate on the channel's output
};

/// What the loss changes, to first order, when a channel goes: a slice along one axis.
///
/// Shapes    w and gradient of one shape, of any rank and strides; the result has the extent of
///           `axis`, which may be negative to count from the end
/// Errors    ShapeError; NumericError naming the channel of an element that is not finite, or whose
///           score is beyond float
/// Accuracy  float64 sums
/// Source    Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient
///           Inference", 2017, and "Importance Estimation for Neural Network Pruning", 2019
///           (squares)
template <std::size_t Rank>
[[nodiscard]] Vector<float> taylor_channel_scores(
    std::type_identity_t<TensorView<const float, Rank>> w, TensorView<const float, Rank> gradient,
    Index axis, TaylorReduction reduction = TaylorReduction::sum_of_magnitudes) {
  const std::size_t along = detail::require_axis(axis, Rank);
  if (gradient.shape() != w.shape())
    throw ShapeError("the gradient of shape " + to_string(gradient.shape()) +
                     " does not fit the weight of shape " + to_string(w.shape()));
  detail::require_finite_channels(w, along, "weight");
  detail::require_finite_channels(gradient, along, "gradient");
  Vector<float> scores({w.extent(along)});
  for (Index c = 0; c < scores.size(); ++c) {
    double sum = 0.0, magnitudes = 0.0, squares = 0.0;
    detail::for_each_position(
        [&](float v, float g) {
          const double change = static_cast<double>(v) * static_cast<double>(g);
          sum += change;
          magnitudes += std::fabs(change);
          squares += change * change;
        },
        w.select(along, c), gradient.select(along, c));
    double score = 0.0;
    switch (reduction) {
      case TaylorReduction::sum_of_magnitudes:
        score = magnitudes;
        break;
      case TaylorReduction::magnitude_of_sum:
        score = std::fabs(sum);
        break;
      case TaylorReduction::sum_of_squares:
        score = squares;
        break;
      case TaylorReduction::square_of_sum:
        score = sum * sum;
        break;
    }
    scores[c] = static_cast<float>(score);
    if (!is_finite(static_cast<double>(scores[c])))
      throw NumericError("the score of channel " + std::to_string(c) + " is beyond float");
  }
  return scores;
}
template <std::size_t Rank>
[[nodiscard]] Vector<float> taylor_channel_scores(
    const Tensor<float, Rank>& w, const Tensor<float, Rank>& gradient, Index axis,
    TaylorReduction reduction = TaylorReduction::sum_of_magnitudes) {
  return taylor_channel_scores<Rank>(w.view(), gradient.view(), axis, reduction);
}

}  // namespace pare
