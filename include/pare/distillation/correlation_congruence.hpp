#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct CorrelationCongruenceOptions {
  double gamma = 0.4;  ///< of the kernel exp(-gamma |a - b|^2) of rows of length 1
  Index order = 2;     ///< of its Taylor expansion
  LossOptions common{};
};

/// Squared differences of the correlations between samples, measured by a Gaussian kernel's
/// expansion.
///
///     k(a, b) = exp(-2 gamma) sum_{p <= order} (2 gamma)^p / p! (a.b)^p,   L = mean over all pairs
///
/// Shapes, errors as similarity_preserving_loss; ArgumentError for an order below 1 or a gamma that
/// is no positive number Source    Peng et al., "Correlation Congruence for Knowledge
/// Distillation", 2019
template <class T = float>
double correlation_congruence_loss(LossInput<T> student, LossInput<T> teacher,
                                   const CorrelationCongruenceOptions& options = {},
                                   LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), 2, "pairs");
  if (options.order < 1 || !is_finite(options.gamma) || options.gamma <= 0.0)
    throw ArgumentError("a kernel of order " + std::to_string(options.order) + " and gamma " +
                        std::to_string(options.gamma) + " is none: both must be positive");
  const detail::UnitRows s(detail::feature_values(student, "student"));
  const detail::UnitRows t(detail::feature_values(teacher, "teacher"));
  const auto kernel = [&](double cosine, double& slope) {
    const double x = 2.0 * options.gamma;
    double value = 1.0, term = 1.0;  // term: x^p / p! cosine^(p - 1)
    slope = 0.0;
    for (Index p = 1; p <= options.order; ++p) {
      term *= x / static_cast<double>(p) * (p == 1 ? 1.0 : cosine);
      slope += static_cast<double>(p) * term;
      value += term * cosine;
    }
    const double scale = std::exp(-x);
    slope *= scale;
    return scale * value;
  };
  const auto cs = detail::product_with_transpose(s.values(), s.values(), execution);
  const auto ct = detail::product_with_transpose(t.values(), t.values(), execution);
  const auto pairs = static_cast<double>(cs.size());
  Matrix<double> dc(cs.shape());
  double loss = 0.0;
  for (Index i = 0; i < cs.size(); ++i) {
    double slope = 0.0, unused = 0.0;
    const double wanted = kernel(ct.data()[i], unused);
    const double difference = kernel(cs.data()[i], slope) - wanted;
    loss += difference * difference / pairs;
    dc.data()[i] = 2.0 * difference * slope / pairs;
  }
  Matrix<double> df(s.values().shape());
  detail::pull_back_gram(dc, s.values(), df, execution);
  s.pull_back(df);
  detail::put_gradients(df, options.common, gradient);
  return options.common.weight * loss;
}

/// What RepDistiller calls by that name: products of the absolute differences of neighbouring
/// samples.
///
///     L = mean over i of sum_j |s - t|_ij |s - t|_(i+1)j
///
/// Shapes    student and teacher (batch, features), after embeddings that make them equally wide
/// Errors    ShapeError, for a batch of one sample too; NumericError
template <class T = float>
double neighbour_difference_loss(LossInput<T> student, LossInput<T> teacher,
                                 const LossOptions& options = {}, LossGradient<T> gradient = {},
                                 const Execution& execution = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), 2, "neighbours");
  const auto fs = detail::feature_values(student, "student");
  const auto ft = detail::feature_values(teacher, "teacher");
  const auto pairs = static_cast<double>(fs.rows() - 1);
  Vector<double> losses({fs.rows()});
  Matrix<double> df(fs.shape());
  execution.parallel_for(fs.rows(), [&](Index i) {
    for (Index j = 0; j < fs.cols(); ++j) {
      const auto size = [&](Index row) {
        return row < 0 || row == fs.rows() ? 0.0 : std::fabs(fs(row, j) - ft(row, j));
      };
      losses[i] += size(i) * size(i + 1) / pairs;
      const double difference = fs(i, j) - ft(i, j);
      const double sign = difference > 0.0 ? 1.0 : difference < 0.0 ? -1.0 : 0.0;
      df(i, j) = sign * (size(i - 1) + size(i + 1)) / pairs;
    }
  });
  double loss = 0.0;
  for (const double of_sample : losses) loss += of_sample;
  detail::put_gradients(df, options, gradient);
  return options.weight * loss;
}

}  // namespace pare
