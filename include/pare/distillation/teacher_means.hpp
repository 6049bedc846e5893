#pragma once

#include "pare/core/tensor.hpp"
#include "pare/distillation/teachers_kl.hpp"

/// Several teachers made into one.
namespace pare {

/// The weighted sum of teachers' logits: one teacher for any loss.
///
/// Shapes    each teacher and the result (samples, classes)
/// Errors    ShapeError; ArgumentError without teachers, or for a weight that is negative or not
///           finite; NumericError naming a NaN or +inf
/// Edge      a class that a teacher of positive weight masks with -inf is masked
/// Source    TextBrewer, which tempers the mean
template <class T = float>
[[nodiscard]] Matrix<T> mean_logits(ManyLogits<T> teachers, const TeacherWeights& weights = {}) {
  detail::require_teachers<T>(teachers, weights);
  Matrix<T> mean(teachers[0].shape());
  for (Index i = 0; i < mean.rows(); ++i) {
    for (const auto& teacher : teachers) detail::require_logits(teacher.row(i), "teacher", i);
    for (Index j = 0; j < mean.cols(); ++j) {
      double sum = 0.0;
      for (std::size_t m = 0; m < teachers.size(); ++m)
        sum += detail::product_or_zero(detail::weight_of(weights, teachers.size(), m, i),
                                       static_cast<double>(teachers[m](i, j)));
      mean(i, j) = static_cast<T>(sum);
    }
  }
  return mean;
}

/// The weighted sum of teachers' tempered probabilities: targets for the losses of
/// soft_targets.hpp at the same temperature.
///
/// Shapes    each teacher and the result (samples, classes)
/// Values    weights that have the sum 1 give probabilities
/// Errors    as mean_logits; ArgumentError for a bad temperature
template <class T = float>
[[nodiscard]] Matrix<T> mean_probabilities(ManyLogits<T> teachers, double temperature = 1.0,
                                           const TeacherWeights& weights = {}) {
  detail::require_teachers<T>(teachers, weights);
  detail::require_temperature(temperature);
  Matrix<T> mean(teachers[0].shape());
  std::vector<double> sum(static_cast<std::size_t>(mean.cols()));
  for (Index i = 0; i < mean.rows(); ++i) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (std::size_t m = 0; m < teachers.size(); ++m) {
      const detail::Softmax p = detail::softmax_of(teachers[m].row(i), temperature, "teacher", i);
      const double w = detail::weight_of(weights, teachers.size(), m, i);
      for (Index j = 0; j < mean.cols(); ++j) sum[static_cast<std::size_t>(j)] += w * p[j];
    }
    for (Index j = 0; j < mean.cols(); ++j)
      mean(i, j) = static_cast<T>(sum[static_cast<std::size_t>(j)]);
  }
  return mean;
}

}  // namespace pare
