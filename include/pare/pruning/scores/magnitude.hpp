#pragma once

#include <cmath>

#include "pare/pruning/score.hpp"

namespace pare {

/// |w|.
///
/// Errors    NumericError naming a weight that is not finite
/// Source    Han et al., "Learning both Weights and Connections", 2015
[[nodiscard]] inline Matrix<float> magnitude_scores(MatrixView<const float> w) {
  require_finite(w, "weight");
  return detail::scores_of(w.shape(), [&](Index i, Index j) { return std::fabs(w(i, j)); });
}

struct Magnitude {
  static constexpr std::string_view name = "magnitude";
  using Inputs = Weights;
  [[nodiscard]] Matrix<float> operator()(const Weights& inputs) const {
    return magnitude_scores(inputs.w);
  }
};

}  // namespace pare
