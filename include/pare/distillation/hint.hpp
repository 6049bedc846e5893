#pragma once

#include "pare/distillation/regressor.hpp"

namespace pare {

/// Hints: the mean squared difference between what a regressor makes of the student's features and
/// the teacher's.
///
///     L = mean (R(student) - teacher)^2
///
/// Shapes    student (rows, in), teacher (rows, out), a row for each sample, position or token: of
/// maps
///           (batch, channels, height, width) the channels last. The regressor's gradients are
///           added
/// Errors    ShapeError; NumericError for what is not finite
/// Source    Romero et al., "FitNets: Hints for Thin Deep Nets", 2015; without a regressor it is
///           feature_mse_loss
template <class T = float>
double hint_loss(LossInput<T> student, LossInput<T> teacher, const Regressor<T>& regressor,
                 const LossOptions& options = {}, LossGradient<T> gradient = {},
                 const RegressorGradients<T>& regressor_gradients = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  const auto ft = detail::feature_values(teacher, "teacher");
  const Regression<T> regression(regressor, detail::feature_values(student, "student"));
  if (regression.values().shape() != ft.shape())
    throw ShapeError("the regressor makes features of " + to_string(regression.values().shape()) +
                     ", the teacher has " + to_string(ft.shape()));
  const auto count = static_cast<double>(ft.size());
  Matrix<double> dy(ft.shape());
  double loss = 0.0;
  for (Index i = 0; i < ft.size(); ++i) {
    const double difference = regression.values().data()[i] - ft.data()[i];
    loss += difference * difference / count;
    dy.data()[i] = 2.0 * difference / count;
  }
  detail::put_gradients(regression.pull_back(std::move(dy), options.weight, regressor_gradients),
                        options, gradient);
  return options.weight * loss;
}

}  // namespace pare
