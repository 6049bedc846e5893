#pragma once

#include <cmath>
#include <string>

#include "pare/pruning/score.hpp"

namespace pare {

struct RiaOptions {
  /// The power of the input's norm.
  double exponent = 0.5;
};

/// A weight's share of its row and of its column, times a power of the norm of its input: channels
/// whose weights are all small are not lost as a whole.
///
///     score_ij = (|w_ij| / sum_j' |w_ij'| + |w_ij| / sum_i' |w_i'j|) sqrt(s_j)^a
///
/// Shapes    as wanda_scores
/// Errors    as wanda_scores; ArgumentError for an exponent that is negative or not finite
/// Edge      zeros have 0, also in a row or column of zeros
/// Accuracy  float64 sums
/// Source    Zhang et al., "Plug-and-Play: An Efficient Post-training Pruning Method for Large
///           Language Models", 2024
[[nodiscard]] inline Matrix<float> ria_scores(MatrixView<const float> w,
                                              VectorView<const float> squared_input_norms,
                                              const RiaOptions& options = {},
                                              const Execution& execution = {}) {
  if (!is_finite(options.exponent) || options.exponent < 0.0)
    throw ArgumentError("the exponent of RIA is " + std::to_string(options.exponent));
  require_finite(w, "weight");
  detail::require_input_norms(squared_input_norms, w.cols());
  Vector<double> row_sums({w.rows()}), column_sums({w.cols()}), factors({w.cols()});
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      const double magnitude = std::fabs(detail::at(w, i, j));
      row_sums[i] += magnitude;
      column_sums[j] += magnitude;
    }
  for (Index j = 0; j < w.cols(); ++j)
    factors[j] = std::pow(static_cast<double>(squared_input_norms[j]), 0.5 * options.exponent);
  const auto score = [&](Index i, Index j) {
    const double magnitude = std::fabs(detail::at(w, i, j));
    if (magnitude == 0.0) return 0.0;
    return (magnitude / row_sums[i] + magnitude / column_sums[j]) * factors[j];
  };
  return detail::scores_of(w.shape(), score, execution);
}

struct Ria {
  static constexpr std::string_view name = "ria";
  using Inputs = WeightsAndInputs;
  RiaOptions options{};
  [[nodiscard]] Matrix<float> operator()(const WeightsAndInputs& inputs,
                                         const Execution& execution = {}) const {
    return ria_scores(inputs.w, inputs.squared_input_norms, options, execution);
  }
};

}  // namespace pare
