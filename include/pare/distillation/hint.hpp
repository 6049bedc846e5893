#pragma once

#include <vector>

#include "pare/distillation/regressor.hpp"

namespace pare {

/// Hints: the mean squared difference between what a regressor makes of the student's features and
/// the teacher's.
///
///     L_i = mean over features of (R(student) - teacher)^2
///
/// Shapes    student (rows, in), teacher (rows, out): a row for each sample, position or token;
///           maps and k x k convolutions are convolution_hint_loss's. The regressor's gradients
///           are added
/// Values    the mean over rows, and thus over all elements. Rows of weight 0 are not read, and no
///           part of a regressor's norm
/// Errors    ShapeError; ArgumentError for weights; NumericError for what is not finite
/// Source    Romero et al., "FitNets: Hints for Thin Deep Nets", 2015; without a regressor it is
///           feature_mse_loss
template <class T = float>
double hint_loss(LossInput<T> student, LossInput<T> teacher, const Regressor<T>& regressor,
                 const SampleOptions& options = {}, LossGradient<T> gradient = {},
                 const RegressorGradients<T>& regressor_gradients = {},
                 const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  if (student.empty())
    throw ShapeError("the student has no values: shape " + to_string(student.shape()));
  const double divisor = detail::divisor_of_samples(student.rows(), options);
  std::vector<Index> rows;
  std::vector<double> weights;
  for (Index i = 0; i < student.rows(); ++i) {
    const double weight = options.sample_weights.empty() ? 1.0 : options.sample_weights[i];
    if (weight > 0.0) rows.push_back(i), weights.push_back(weight);
  }
  const auto kept = [&](MatrixView<const T> all, const char* who) {
    Matrix<double> some({static_cast<Index>(rows.size()), all.cols()});
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (Index j = 0; j < all.cols(); ++j)
        some(static_cast<Index>(i), j) = static_cast<double>(all(rows[i], j));
    detail::require_finite(some, who);
    return some;
  };
  Matrix<double> dstudent(student.shape());
  double loss = 0.0;
  if (!rows.empty()) {
    const Matrix<double> ft = kept(teacher, "teacher");
    const Regression<T> regression(regressor, kept(student, "student"), execution);
    if (regression.values().shape() != ft.shape())
      throw ShapeError("the regressor makes features of " + to_string(regression.values().shape()) +
                       ", the teacher has " + to_string(ft.shape()));
    Matrix<double> dy(ft.shape());
    for (Index i = 0; i < ft.rows(); ++i) {
      const double share =
          weights[static_cast<std::size_t>(i)] / divisor / static_cast<double>(ft.cols());
      for (Index j = 0; j < ft.cols(); ++j) {
        const double difference = regression.values()(i, j) - ft(i, j);
        loss += share * difference * difference;
        dy(i, j) = 2.0 * share * difference;
      }
    }
    const Matrix<double> dx =
        regression.pull_back(std::move(dy), options.weight, regressor_gradients, execution);
    for (std::size_t i = 0; i < rows.size(); ++i)
      copy(dx.view().row(static_cast<Index>(i)), dstudent.view().row(rows[i]));
  }
  detail::put_gradients(dstudent,
                        LossOptions{.weight = options.weight, .add_gradient = options.add_gradient},
                        gradient);
  return options.weight * loss;
}

}  // namespace pare
