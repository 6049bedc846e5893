#pragma once

#include <algorithm>
#include <string>

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct ActivationBoundaryOptions {
  double margin = 1.0;
  SampleOptions common{};
};

/// Which neurons are active: features before their ReLU are pushed past a margin, to the side of 0
/// on which the teacher's are.
///
///     L_i = sum over features of max(margin + s, 0)^2 where t <= 0, max(margin - s, 0)^2 where t >
///     0
///
/// Shapes    student, teacher, gradient (samples, features): a Regressor makes the student's as
///           many as the teacher's
/// Values    the mean over samples. The authors' weight is 0.003, halved with each layer before
///           the last
/// Errors    ShapeError; ArgumentError for a margin or weights; NumericError for what is not finite
/// Source    Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries Formed by
///           Hidden Neurons", 2019
template <class T = float>
double activation_boundary_loss(LossInput<T> student, LossInput<T> teacher,
                                const ActivationBoundaryOptions& options = {},
                                LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  if (student.empty())
    throw ShapeError("the student has no values: shape " + to_string(student.shape()));
  if (!is_finite(options.margin) || options.margin < 0.0)
    throw ArgumentError("the margin is " + std::to_string(options.margin) +
                        ": it must be a number from 0");
  return detail::sum_over_samples(
      student.rows(), options.common, execution, [&](Index i, double factor) {
        double loss = 0.0;
        for (Index j = 0; j < student.cols(); ++j) {
          double slope = 0.0;
          if (factor != 0.0) {
            const auto s = static_cast<double>(student(i, j)),
                       t = static_cast<double>(teacher(i, j));
            if (!is_finite(s) || !is_finite(t))
              throw NumericError("features of sample " + std::to_string(i) + " are not finite");
            const double side = t > 0.0 ? -1.0 : 1.0;
            const double beyond = std::max(options.margin + side * s, 0.0);
            loss += beyond * beyond;
            slope = 2.0 * side * beyond;
          }
          if (gradient.data() != nullptr)
            detail::put_gradient(gradient(i, j), factor * slope, options.common.add_gradient);
        }
        return loss;
      });
}

}  // namespace pare
