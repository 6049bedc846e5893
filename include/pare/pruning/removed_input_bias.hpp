#pragma once

#include <span>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// What removed inputs added to the outputs on average: b = W[:, removed] mean[removed], which a
/// bias can give back.
///
/// Shapes    w (out, in); mean_input (in); removed: input channels, each once; the result (out)
/// Errors    ShapeError; ArgumentError for a channel that does not exist; NumericError naming an
///           element that is not finite
/// Source    An et al., "Fluctuation-based Adaptive Structured Pruning for Large Language Models"
///           (FLAP), 2023
[[nodiscard]] inline Vector<float> removed_input_bias(MatrixView<const float> w,
                                                      VectorView<const float> mean_input,
                                                      std::span<const Index> removed) {
  if (mean_input.size() != w.cols())
    throw ShapeError(std::to_string(mean_input.size()) +
                     " means of inputs do not fit a weight of " + std::to_string(w.cols()) +
                     " inputs");
  for (const Index j : removed)
    if (j < 0 || j >= w.cols())
      throw ArgumentError("input " + std::to_string(j) + " is none of " + std::to_string(w.cols()));
  require_finite(w, "weight");
  for (Index j = 0; j < w.cols(); ++j)
    if (!is_finite(static_cast<double>(mean_input[j])))
      throw NumericError("the mean of input " + std::to_string(j) + " is not finite");
  Vector<float> bias({w.rows()});
  for (Index i = 0; i < w.rows(); ++i) {
    double sum = 0.0;
    for (const Index j : removed)
      sum += static_cast<double>(w(i, j)) * static_cast<double>(mean_input[j]);
    bias[i] = static_cast<float>(sum);
  }
  return bias;
}

}  // namespace pare
