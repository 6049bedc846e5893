#pragma once

#include "pare/core/tensor.hpp"
#include "pare/distillation/teachers_kl.hpp"

namespace pare {

/// More weight for teachers that are sure of a sample.
///
///     w_mi = 1 - H(p_mi) / sum_m' H(p_m'i)
///
/// Shapes    each teacher (samples, classes); the result (teachers, samples)
/// Values    of a sample they have the sum teachers - 1, as in the authors' code
/// Errors    as kl_loss; ArgumentError without teachers or for a bad temperature
/// Edge      one teacher alone has the weight 1; all have the same where none has entropy
/// Source    Kwon et al., "Adaptive Knowledge Distillation Based on Entropy", 2020, as EBKD in
///           CA-MKD's code
template <class T = float>
[[nodiscard]] Matrix<double> entropy_weights(ManyLogits<T> teachers, double temperature = 1.0) {
  detail::require_teachers<T>(teachers, {});
  detail::require_temperature(temperature);
  const auto count = static_cast<Index>(teachers.size());
  Matrix<double> weights({count, teachers[0].rows()});
  for (Index i = 0; i < weights.cols(); ++i) {
    double sum = 0.0;
    for (Index m = 0; m < count; ++m) {
      weights(m, i) = detail::entropy_of(detail::softmax_of(
          teachers[static_cast<std::size_t>(m)].row(i), temperature, "teacher", i));
      sum += weights(m, i);
    }
    for (Index m = 0; m < count; ++m)
      weights(m, i) =
          count == 1 ? 1.0
                     : 1.0 - (sum > 0.0 ? weights(m, i) / sum : 1.0 / static_cast<double>(count));
  }
  return weights;
}

}  // namespace pare
