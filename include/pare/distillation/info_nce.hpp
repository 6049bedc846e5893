#pragma once

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
/// Errors    ShapeError; ArgumentError for a temperature that is no positive number; NumericError
/// Source    van den Oord et al., "Representation Learning with Contrastive Predictive Coding",
/// 2018
template <class T = float>
double info_nce_loss(LossInput<T> student, LossInput<T> teacher, const InfoNceOptions& options = {},
                     LossGradient<T> gradient = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  if (!is_finite(options.temperature) || options.temperature <= 0.0)
    throw ArgumentError("the temperature is " + std::to_string(options.temperature) +
                        ": it must be a positive number");
  const detail::UnitRows s(detail::feature_values(student, "student"));
  const detail::UnitRows t(detail::feature_values(teacher, "teacher"));
  const Index batch = student.rows();
  const auto count = static_cast<double>(batch);
  Matrix<double> scores = detail::product_with_transpose(s.values(), t.values());
  double loss = 0.0;
  for (Index i = 0; i < batch; ++i) {
    double sum = 0.0;
    const double own = scores(i, i) / options.temperature;
    for (Index j = 0; j < batch; ++j) {
      // Cosines are at most 1: nothing overflows but for tiny temperatures.
      scores(i, j) = std::exp((scores(i, j) - 1.0) / options.temperature);
      sum += scores(i, j);
    }
    loss += (std::log(sum) + 1.0 / options.temperature - own) / count;
    for (Index j = 0; j < batch; ++j)
      scores(i, j) = (scores(i, j) / sum - (i == j ? 1.0 : 0.0)) / options.temperature / count;
  }
  Matrix<double> ds(student.shape());
  gemm(1.0, scores, t.values(), ds);
  s.pull_back(ds);
  detail::put_gradients(ds, options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace pare
