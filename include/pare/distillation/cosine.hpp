#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

/// 1 - the cosine between features of student and teacher, as DistilBERT has it between hidden
/// states.
///
/// Shapes    student, teacher, gradient (samples, features)
/// Values    the mean over samples, in [0, 2]; 1, without a gradient, for a row of zeros
/// Errors    ShapeError; NumericError for what is not finite
/// Source    Sanh et al., "DistilBERT", 2019
template <class T = float>
double cosine_loss(LossInput<T> student, LossInput<T> teacher, const SampleOptions& options = {},
                   LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  if (student.empty())
    throw ShapeError("the student has no values: shape " + to_string(student.shape()));
  return detail::sum_over_samples(student.rows(), options, execution, [&](Index i, double factor) {
    double ss = 0.0, tt = 0.0, st = 0.0;
    for (Index j = 0; factor != 0.0 && j < student.cols(); ++j) {
      const auto s = static_cast<double>(student(i, j)), t = static_cast<double>(teacher(i, j));
      ss += s * s;
      tt += t * t;
      st += s * t;
    }
    if (!is_finite(ss) || !is_finite(tt))
      throw NumericError("features of sample " + std::to_string(i) + " are not finite");
    const double size = std::sqrt(ss) * std::sqrt(tt);
    const double cosine = size > 0.0 ? st / size : 0.0;
    for (Index j = 0; gradient.data() != nullptr && j < student.cols(); ++j) {
      const double d = size > 0.0 ? static_cast<double>(student(i, j)) * cosine / ss -
                                        static_cast<double>(teacher(i, j)) / size
                                  : 0.0;
      detail::put_gradient(gradient(i, j), factor * d, options.add_gradient);
    }
    return 1.0 - cosine;
  });
}

}  // namespace pare
