#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

/// What a score of weights is: how important each is, low = unimportant. Scores lie in `scores/`, a
/// file each; what one asks for is a type, so that what lacks it does not compile.
namespace pare {

/// Inputs of scores. All matrices have the shape of the weight w (out, in).
struct Weights {
  MatrixView<const float> w;
};
/// A sum or mean of x_j^2 over tokens for each input j: the factor changes no order.
struct WeightsAndInputs {
  MatrixView<const float> w;
  VectorView<const float> squared_input_norms;
};
/// dL/dw, of whatever loss and data the caller chose.
struct WeightsAndGradient {
  MatrixView<const float> w, gradient;
};
/// H dL/dw, with H the Hessian of the loss.
struct WeightsAndHessianGradient {
  MatrixView<const float> w, hessian_gradient;
};
/// The diagonal of the Hessian of the loss, or the mean over samples of the squared gradient.
struct WeightsAndCurvature {
  MatrixView<const float> w, curvature;
};

/// A score of single weights, as the list `scores/all.hpp` holds them.
///
///     struct Magnitude {
///       static constexpr std::string_view name = "magnitude";
///       using Inputs = Weights;
///       [[nodiscard]] Matrix<float> operator()(const Weights& inputs) const;
///     };
template <class S>
concept Score = requires(const S& score, const typename S::Inputs& inputs) {
  { S::name } -> std::convertible_to<std::string_view>;
  { score(inputs) } -> std::same_as<Matrix<float>>;
};

namespace detail {

inline void require_shape_of_weight(const Shape<2>& shape, const Shape<2>& weight,
                                    std::string_view what) {
  if (shape != weight)
    throw ShapeError("the " + std::string(what) + " of shape " + to_string(shape) +
                     " does not fit the weight of shape " + to_string(weight));
}

/// A matrix of f(i, j).
template <class F>
[[nodiscard]] Matrix<float> scores_of(const Shape<2>& shape, F f) {
  Matrix<float> scores(shape);
  for (Index i = 0; i < shape[0]; ++i)
    for (Index j = 0; j < shape[1]; ++j) scores(i, j) = static_cast<float>(f(i, j));
  return scores;
}

}  // namespace detail
}  // namespace pare
