#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

/// The mean squared difference of features of the same shape: hints (FitNets) without a regressor,
/// hidden states of transformers, classification tokens. With `sample_weights`, one for each row,
/// rows of padding count nowhere.
///
///     L_i = mean over features of (student - teacher)^2
///
/// Shapes    student, teacher, gradient (samples, features): other features as a view of rows
/// Values    the mean over samples, and thus over all elements
/// Errors    ShapeError; NumericError for what is not finite
/// Source    Romero et al., "FitNets: Hints for Thin Deep Nets", 2015
template <class T = float>
double feature_mse_loss(LossInput<T> student, LossInput<T> teacher,
                        const SampleOptions& options = {}, LossGradient<T> gradient = {},
                        const Execution& execution = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  if (student.empty())
    throw ShapeError("the student has no values: shape " + to_string(student.shape()));
  const auto width = static_cast<double>(student.cols());
  return detail::sum_over_samples(student.rows(), options, execution, [&](Index i, double factor) {
    double loss = 0.0;
    for (Index j = 0; j < student.cols(); ++j) {
      const double difference =
          factor == 0.0 ? 0.0
                        : static_cast<double>(student(i, j)) - static_cast<double>(teacher(i, j));
      if (!is_finite(difference))
        throw NumericError("features of sample " + std::to_string(i) + " are not finite");
      loss += difference * difference / width;
      if (gradient.data() != nullptr)
        detail::put_gradient(gradient(i, j), factor * 2.0 * difference / width,
                             options.add_gradient);
    }
    return loss;
  });
}

}  // namespace pare
