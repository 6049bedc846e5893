#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct InfoNceOptions {
  double temperature = 0.07;
  LossOptions common{};
};

/// Contrast within a batch: the teacher of the same sample is found among those of all.
///
///     L = mean over i of -log softmax_j(<s_i, t_j> / T)_i,   rows of length 1
///
/// Shapes    student, teacher, gradient (batch, features)
/// Errors    ShapeError, for a batch of one sample too; ArgumentError for a temperature that is no
/// positive number; NumericError Source    van den Oord et al., "Representation Learning with
/// Contrastive Predictive Coding", 2018
template <class T = float>
double info_nce_loss(LossInput<T> student, LossInput<T> teacher, const InfoNceOptions& options = {},
                     LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), 2, "contrast");
  if (!is_finite(options.temperature) || options.temperature <= 0.0)
    throw ArgumentError("the temperature is " + std::to_string(options.temperature) +
                        ": it must be a positive number");
  const detail::UnitRows s(detail::feature_values(student, "student"));
  const detail::UnitRows t(detail::feature_values(teacher, "teacher"));
  const Index batch = student.rows();
  const auto count = static_cast<double>(batch);
  Matrix<double> scores = detail::product_with_transpose(s.values(), t.values(), execution);
  double loss = 0.0;
  for (Index i = 0; i < batch; ++i) {
    double sum = 0.0, largest = scores(i, 0);
    for (Index j = 1; j < batch; ++j) largest = std::max(largest, scores(i, j));
    const double own = (scores(i, i) - largest) / options.temperature;
    for (Index j = 0; j < batch; ++j)
      sum += scores(i, j) = std::exp((scores(i, j) - largest) / options.temperature);
    loss += (std::log(sum) - own) / count;
    for (Index j = 0; j < batch; ++j)
      scores(i, j) = (scores(i, j) / sum - (i == j ? 1.0 : 0.0)) / options.temperature / count;
  }
  Matrix<double> ds(student.shape());
  gemm(1.0, scores, t.values(), ds, execution);
  s.pull_back(ds);
  detail::put_gradients(ds, options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace pare
