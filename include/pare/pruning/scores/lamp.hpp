#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "pare/pruning/score.hpp"

namespace pare {

/// A weight's share of those that are not smaller: scores of different layers can be compared, and
/// are meant to be (a global selection).
///
///     score = w^2 / sum of v^2 over the weights v of the matrix that come at or after w, by |v|
///
/// Values    in [0, 1]; the largest weight has 1, so that no layer is emptied. Of equal weights the
///           one that lies first has the lower score
/// Errors    NumericError naming a weight that is not finite
/// Edge      zeros have 0, also where nothing else is there
/// Accuracy  float64 sums, the largest first
/// Source    Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021
[[nodiscard]] inline Matrix<float> lamp_scores(MatrixView<const float> w) {
  require_finite(w, "weight");
  std::vector<std::pair<double, Index>> squares;
  squares.reserve(static_cast<std::size_t>(w.size()));
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      const double v = detail::at(w, i, j);
      squares.emplace_back(v * v, i * w.cols() + j);
    }
  std::sort(squares.begin(), squares.end());
  Matrix<float> scores(w.shape());
  double sum = 0.0;
  for (auto weight = squares.rbegin(); weight != squares.rend(); ++weight) {
    const auto [square, position] = *weight;
    sum += square;
    scores.data()[position] = square == 0.0 ? 0.0f : static_cast<float>(square / sum);
  }
  return scores;
}

struct Lamp {
  static constexpr std::string_view name = "lamp";
  using Inputs = Weights;
  [[nodiscard]] Matrix<float> operator()(const Weights& inputs, const Execution& = {}) const {
    return lamp_scores(inputs.w);
  }
};

}  // namespace pare
