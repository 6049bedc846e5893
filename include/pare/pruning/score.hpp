#pragma once

#include <concepts>
#include <string>
#include <string_view>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

/// What a score of weights is: how important each is, low = unimportant. Scores lie in `scores/`, a
/// file each; what one asks for is a type, so that what lacks it does not compile.
namespace pare {

/// Inputs of scores. All matrices have the shape of the weight w (out, in); a convolution is read
/// as one of (out, in * height * width).
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
/// Both: the mean gradient, and the mean over samples of the squared gradient.
struct WeightsGradientAndCurvature {
  MatrixView<const float> w, gradient, curvature;
};
/// Scores that were gathered or trained beside the weights.
struct TrainedScores {
  MatrixView<const float> scores;
};

/// A score of single weights, as the list `scores/all.hpp` holds them.
///
///     struct Magnitude {
///       static constexpr std::string_view name = "magnitude";
///       using Inputs = Weights;
///       [[nodiscard]] Matrix<float> operator()(const Weights& inputs,
///                                              const Execution& execution = {}) const;
///     };
///
/// Options of a score are members of it, with defaults.
template <class S>
concept Score = std::default_initializable<S> &&
    requires(const S& score, const typename S::Inputs& inputs, const Execution& execution) {
  { S::name } -> std::convertible_to<std::string_view>;
  { score(inputs) } -> std::same_as<Matrix<float>>;
  { score(inputs, execution) } -> std::same_as<Matrix<float>>;
};

namespace detail {

inline void require_shape_of_weight(const Shape<2>& shape, const Shape<2>& weight,
                                    std::string_view what) {
  if (shape != weight)
    throw ShapeError("the " + std::string(what) + " of shape " + to_string(shape) +
                     " does not fit the weight of shape " + to_string(weight));
}

/// Norms of x are finite and not negative, one for each input.
inline void require_input_norms(VectorView<const float> squared_norms, Index in_features) {
  if (squared_norms.size() != in_features)
    throw ShapeError(std::to_string(squared_norms.size()) +
                     " norms of inputs do not fit a weight of " + std::to_string(in_features) +
                     " inputs");
  for (Index j = 0; j < in_features; ++j)
    if (!is_finite(static_cast<double>(squared_norms[j])) || squared_norms[j] < 0.0f)
      throw NumericError("the squared norm of input " + std::to_string(j) + " is " +
                         std::to_string(squared_norms[j]));
}

/// A matrix of f(i, j), a number in double. Throws NumericError for one that float cannot hold.
template <class F>
[[nodiscard]] Matrix<float> scores_of(const Shape<2>& shape, const F& f,
                                      const Execution& execution = {}) {
  Matrix<float> scores(shape);
  execution.parallel_for(shape[0], [&](Index i) {
    for (Index j = 0; j < shape[1]; ++j) scores(i, j) = static_cast<float>(f(i, j));
  });
  require_finite(scores, "the matrix of scores");
  return scores;
}

/// The element of a matrix in double.
[[nodiscard]] inline double at(MatrixView<const float> m, Index i, Index j) noexcept {
  return static_cast<double>(m(i, j));
}

}  // namespace detail
}  // namespace pare
