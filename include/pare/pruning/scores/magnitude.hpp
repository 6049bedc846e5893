#pragma once

#include <cmath>

#include "pare/pruning/score.hpp"

namespace pare {

/// |w|.
///
/// Errors    NumericError naming a weight that is not finite
/// Source    Han et al., "Learning both Weights and Connections", 2015
[[nodiscard]] inline Matrix<float> magnitude_scores(MatrixView<const float> w,
                                                    const Execution& execution = {}) {
  require_finite(w, "weight");
  return detail::scores_of(
      w.shape(), [&](Index i, Index j) { return std::fabs(w(i, j)); }, execution);
}

struct Magnitude {
  static constexpr std::string_view name = "magnitude";
  using Inputs = Weights;
  [[nodiscard]] Matrix<float> operator()(const Weights& inputs,
                                         const Execution& execution = {}) const {
    return magnitude_scores(inputs.w, execution);
  }
};

}  // namespace pare
