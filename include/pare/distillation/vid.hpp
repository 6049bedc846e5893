#pragma once

#include <span>
#include <vector>

#include "pare/distillation/regressor.hpp"

namespace pare {

/// Gradients of what is learned beside the student: of each regressor, and of rho; all are added
/// to.
template <class T>
struct VidGradients {
  std::span<const RegressorGradients<T>> regressors{};
  VectorView<T> rho{};
};

/// Variational information distillation: how likely the teacher's features are for a Gaussian
/// around what regressors make of the student's, with a variance of its own for each feature.
///
///     L = mean ((mu - teacher)^2 / s + log s) / 2,   s = softplus(rho) + epsilon
///
/// Shapes    student (rows, in), teacher (rows, out), rho (out); regressors one after the other,
/// rows as
///           in hint_loss
/// Errors    ShapeError; ArgumentError for an epsilon that is no positive number; NumericError for
/// what is not finite Source    Ahn et al., "Variational Information Distillation for Knowledge
/// Transfer", 2019
template <class T = float>
double vid_loss(LossInput<T> student, LossInput<T> teacher,
                std::type_identity_t<std::span<const Regressor<T>>> regressors, LossInput<T, 1> rho,
                const LossOptions& options = {}, LossGradient<T> gradient = {},
                const VidGradients<T>& gradients = {}, double epsilon = 1e-5,
                const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  const auto ft = detail::feature_values(teacher, "teacher");
  if (rho.size() != ft.cols())
    throw ShapeError("there are variances of " + std::to_string(rho.size()) +
                     " features, the teacher has " + std::to_string(ft.cols()));
  if (!gradients.regressors.empty() && gradients.regressors.size() != regressors.size())
    throw ShapeError("there are gradients of " + std::to_string(gradients.regressors.size()) +
                     " regressors, not of " + std::to_string(regressors.size()));
  if (!gradients.rho.empty() && gradients.rho.size() != rho.size())
    throw ShapeError("the gradient of rho has " + std::to_string(gradients.rho.size()) +
                     " values, rho " + std::to_string(rho.size()));
  (void)detail::feature_values(rho, "rho of the variances");
  if (!is_finite(epsilon) || epsilon <= 0.0)
    throw ArgumentError("the smallest variance is " + std::to_string(epsilon) +
                        ": it must be a positive number");
  detail::require_loss_weight(options.weight);
  std::vector<Regression<T>> way;
  Matrix<double> mu = detail::feature_values(student, "student");
  for (const Regressor<T>& regressor : regressors) {
    way.emplace_back(regressor, std::move(mu), execution);
    mu = way.back().values();
  }
  // Before the first gradient is added to.
  for (std::size_t i = 0; i < gradients.regressors.size(); ++i)
    way[i].require_fit(gradients.regressors[i]);
  if (mu.shape() != ft.shape())
    throw ShapeError("the regressors make features of " + to_string(mu.shape()) +
                     ", the teacher has " + to_string(ft.shape()));
  const auto count = static_cast<double>(ft.size());
  Matrix<double> d(ft.shape());
  double loss = 0.0;
  for (Index j = 0; j < ft.cols(); ++j) {
    const auto r = static_cast<double>(rho[j]);
    // log(1 + e^r) without overflow.
    const double softplus = (r > 0.0 ? r : 0.0) + std::log1p(std::exp(-std::fabs(r)));
    const double variance = softplus + epsilon;
    double dvariance = 0.0;
    for (Index i = 0; i < ft.rows(); ++i) {
      const double difference = mu(i, j) - ft(i, j);
      loss += 0.5 * (difference * difference / variance + std::log(variance)) / count;
      d(i, j) = difference / variance / count;
      dvariance += 0.5 * (1.0 - difference * difference / variance) / variance / count;
    }
    if (!gradients.rho.empty())
      detail::put_gradient(gradients.rho[j], options.weight * dvariance / (1.0 + std::exp(-r)),
                           true);
  }
  for (std::size_t i = way.size(); i-- > 0;)
    d = way[i].pull_back(
        std::move(d), options.weight,
        gradients.regressors.empty() ? RegressorGradients<T>{} : gradients.regressors[i],
        execution);
  detail::put_gradients(d, options, gradient);
  return options.weight * loss;
}

}  // namespace pare
