#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

namespace detail {

/// Cosines of all pairs as probabilities that one chooses the other: (C + 1) / 2 over the row's
/// sum.
struct NeighbourProbabilities {
  static constexpr double epsilon = 1e-7;
  UnitRows rows;
  Matrix<double> probabilities;
  Vector<double> sums;

  explicit NeighbourProbabilities(const Matrix<double>& f, const Execution& execution)
      : rows(f, epsilon),
        probabilities(product_with_transpose(rows.values(), rows.values(), execution)),
        sums({f.rows()}) {
    for (Index i = 0; i < f.rows(); ++i) {
      for (Index j = 0; j < f.rows(); ++j)
        sums[i] += probabilities(i, j) = 0.5 * (probabilities(i, j) + 1.0);
      for (Index j = 0; j < f.rows(); ++j) probabilities(i, j) /= sums[i];
    }
  }
};

}  // namespace detail

/// Probabilistic knowledge transfer: how likely samples choose each other as neighbours.
///
///     L = mean over all pairs of t log((t + eps) / (s + eps)),  eps = 1e-7
///
/// Shapes, errors as similarity_preserving_loss. RepDistiller weights it with 30000
/// Values    0 for features equal up to positive factors of rows, but for rows so short that the
///           1e-7 which the authors add to their norms counts
/// Source    Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge
/// Transfer",
///           2018
template <class T = float>
double pkt_loss(LossInput<T> student, LossInput<T> teacher, const LossOptions& options = {},
                LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), 2, "pairs");
  const detail::NeighbourProbabilities s(detail::feature_values(student, "student"), execution);
  const detail::NeighbourProbabilities t(detail::feature_values(teacher, "teacher"), execution);
  const Index batch = student.rows();
  const auto pairs = static_cast<double>(batch * batch);
  constexpr double epsilon = detail::NeighbourProbabilities::epsilon;
  double loss = 0.0;
  Matrix<double> dc({batch, batch});
  for (Index i = 0; i < batch; ++i) {
    double along = 0.0;
    for (Index j = 0; j < batch; ++j) {
      const double p = t.probabilities(i, j), q = s.probabilities(i, j);
      loss += p * std::log((p + epsilon) / (q + epsilon)) / pairs;
      dc(i, j) = -p / (q + epsilon) / pairs;
      along += dc(i, j) * q;
    }
    for (Index j = 0; j < batch; ++j) dc(i, j) = 0.5 * (dc(i, j) - along) / s.sums[i];
  }
  Matrix<double> df({batch, student.cols()});
  detail::pull_back_gram(dc, s.rows.values(), df, execution);
  s.rows.pull_back(df);
  detail::put_gradients(df, options, gradient);
  return options.weight * loss;
}

}  // namespace pare
