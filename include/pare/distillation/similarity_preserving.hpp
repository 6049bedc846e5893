#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

/// Samples that are similar for the teacher are so for the student: squared differences of the
/// rows, normalized, of their Gram matrices.
///
///     L = ||G_s - G_t||^2 / batch^2,   G = rows of F Fᵀ, each of length 1
///
/// Shapes    student (batch, features), teacher (batch, any features); features of more axes
/// flattened Values    0 for equal ones up to a positive factor. RepDistiller weights it with 3000
/// Errors    ShapeError for another batch, one of fewer than 2, or no values; NumericError for what
/// is not finite Source    Tung and Mori, "Similarity-Preserving Knowledge Distillation", 2019
template <class T = float>
double similarity_preserving_loss(LossInput<T> student, LossInput<T> teacher,
                                  const LossOptions& options = {}, LossGradient<T> gradient = {},
                                  const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), 2, "pairs");
  const auto fs = detail::feature_values(student, "student");
  const auto ft = detail::feature_values(teacher, "teacher");
  const detail::UnitRows gs(detail::product_with_transpose(fs, fs, execution));
  const detail::UnitRows gt(detail::product_with_transpose(ft, ft, execution));
  const auto pairs = static_cast<double>(fs.rows() * fs.rows());
  Matrix<double> dg(gs.values().shape());
  double loss = 0.0;
  for (Index i = 0; i < dg.size(); ++i) {
    const double difference = gs.values().data()[i] - gt.values().data()[i];
    loss += difference * difference / pairs;
    dg.data()[i] = 2.0 * difference / pairs;
  }
  gs.pull_back(dg);
  Matrix<double> df(fs.shape());
  detail::pull_back_gram(dg, fs, df, execution);
  detail::put_gradients(df, options, gradient);
  return options.weight * loss;
}

}  // namespace pare
