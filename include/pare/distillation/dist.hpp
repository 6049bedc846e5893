#pragma once

#include <cmath>

#include "pare/core/tensor.hpp"
#include "pare/distillation/response.hpp"

namespace pare {

struct DistOptions {
  /// Weights of the correlations between classes of a sample, and between samples of a class.
  double beta = 1.0, gamma = 1.0;
  double temperature = 1.0;
  /// The first columns that count, 0 for all.
  Index vocabulary = 0;
  /// Weights and divisor of samples; the second term is a mean over classes whatever the divisor.
  SampleOptions common{};
};

namespace detail {

/// 1 - the weighted correlation of two vectors, whose gradient with respect to the first, times
/// `factor`, is added. Elements of weight 0 are not read.
template <class Weight>
[[nodiscard]] double correlation_distance(VectorView<const double> a, VectorView<const double> b,
                                          const Weight& weight, VectorView<double> gradient,
                                          double factor) {
  constexpr double epsilon = 1e-8;
  double sum_w = 0.0, mean_a = 0.0, mean_b = 0.0;
  for (Index j = 0; j < a.size(); ++j) {
    if (weight(j) == 0.0) continue;
    sum_w += weight(j);
    mean_a += weight(j) * a[j];
    mean_b += weight(j) * b[j];
  }
  if (sum_w == 0.0) return 1.0;
  mean_a /= sum_w;
  mean_b /= sum_w;
  double aa = 0.0, bb = 0.0, ab = 0.0;
  for (Index j = 0; j < a.size(); ++j) {
    if (weight(j) == 0.0) continue;
    const double x = a[j] - mean_a, y = b[j] - mean_b;
    aa += weight(j) * x * x;
    bb += weight(j) * y * y;
    ab += weight(j) * x * y;
  }
  const double norm_a = std::sqrt(aa), norm_b = std::sqrt(bb);
  const double divisor = norm_a * norm_b + epsilon;
  for (Index j = 0; norm_a > 0.0 && factor != 0.0 && j < a.size(); ++j)
    if (weight(j) != 0.0)
      gradient[j] -= factor * weight(j) *
                     ((b[j] - mean_b) / divisor -
                      ab * norm_b * (a[j] - mean_a) / (norm_a * divisor * divisor));
  return 1.0 - ab / divisor;
}

}  // namespace detail

/// Correlations of the tempered softmaxes in place of their divergence: a stronger teacher need not
/// be matched in size.
///
///     L = beta sum_i w_i (1 - r(q_i, p_i)) / divisor + gamma mean_c (1 - r(q_:c, p_:c))
///
/// with r Pearson's correlation, in the second term of the batch, weighted by w. There is no factor
/// T^2.
///
/// Shapes    student, teacher, gradient (samples, classes)
/// Values    each term is in [0, 2]
/// Errors    as kl_loss; ArgumentError for weights that are negative or not finite
/// Edge      r is 0 where one side is constant, with the gradient 0 where that is the student's (a
///           gradient of 1e8 in other tools). So one sample alone has a second term of 1, two of
///           them have correlations of +-1 and nothing to learn from it
/// Source    Huang et al., "Knowledge Distillation from A Stronger Teacher", 2022, whose code adds
///           1e-8 to the product of norms, as does this
template <class T = float>
double dist_loss(LossInput<T> student, LossInput<T> teacher, const DistOptions& options = {},
                 LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_weight(options.beta, "beta of DIST");
  detail::require_loss_weight(options.gamma, "gamma of DIST");
  detail::require_temperature(options.temperature);
  detail::require_gradient_shape(gradient, student.shape());
  const Index classes = detail::vocabulary_of(student.shape(), teacher.shape(), options.vocabulary);
  const Index samples = student.rows();
  const SampleOptions& common = options.common;
  const auto weight = [&](Index i) {
    return common.sample_weights.empty() ? 1.0 : common.sample_weights[i];
  };
  Matrix<double> p({samples, classes}), q({samples, classes}), of_q({samples, classes});
  double loss = detail::sum_over_samples(samples, common, execution, [&](Index i, double factor) {
    if (weight(i) == 0.0) return 0.0;
    const detail::Softmax student_row = detail::softmax_of(student.row(i).slice(0, 0, classes),
                                                           options.temperature, "student", i),
                          teacher_row = detail::softmax_of(teacher.row(i).slice(0, 0, classes),
                                                           options.temperature, "teacher", i);
    for (Index j = 0; j < classes; ++j) {
      q(i, j) = student_row[j];
      p(i, j) = teacher_row[j];
    }
    return options.beta *
           detail::correlation_distance(
               q.row(i), p.row(i), [](Index) { return 1.0; }, of_q.row(i), options.beta * factor);
  });
  const double per_class = common.weight * options.gamma / static_cast<double>(classes);
  Vector<double> of_class({classes});
  execution.parallel_for(samples > 0 ? classes : 0, [&](Index j) {
    of_class[j] =
        detail::correlation_distance(q.view().transposed().row(j), p.view().transposed().row(j),
                                     weight, of_q.view().transposed().row(j), per_class);
  });
  for (Index j = 0; j < classes; ++j) loss += per_class * of_class[j];
  if (gradient.data() == nullptr) return loss;
  for (Index i = 0; i < samples; ++i) {
    double mean = 0.0;
    for (Index j = 0; j < classes; ++j) mean += q(i, j) * of_q(i, j);
    for (Index j = 0; j < student.cols(); ++j)
      detail::put_gradient(gradient(i, j),
                           j < classes ? q(i, j) * (of_q(i, j) - mean) / options.temperature : 0.0,
                           common.add_gradient);
  }
  return loss;
}

}  // namespace pare
