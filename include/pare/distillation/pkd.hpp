#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct PkdOptions {
  bool normalized = true;  ///< rows are given the length 1 first
  /// The sum over features in place of their mean: TextBrewer's, of one layer.
  bool sums_features = false;
  LossOptions common{};
};

/// Patient distillation: squared differences of the classification tokens of chosen layers.
///
///     L = mean over samples, layers and features of (u_s - u_t)^2,   u = h / |h|
///
/// Shapes    student, teacher, gradient (batch x layers, features), a row for each pair of layers
/// Errors    ShapeError; NumericError for what is not finite
/// Source    Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019
template <class T = float>
double pkd_loss(LossInput<T> student, LossInput<T> teacher, const PkdOptions& options = {},
                LossGradient<T> gradient = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  const auto fs = detail::feature_values(student, "student");
  const auto ft = detail::feature_values(teacher, "teacher");
  const detail::UnitRows s(fs), t(ft);
  const auto count = static_cast<double>(options.sums_features ? fs.rows() : fs.size());
  Matrix<double> df(fs.shape());
  double loss = 0.0;
  for (Index i = 0; i < fs.size(); ++i) {
    const double difference = options.normalized ? s.values().data()[i] - t.values().data()[i]
                                                 : fs.data()[i] - ft.data()[i];
    loss += difference * difference / count;
    df.data()[i] = 2.0 * difference / count;
  }
  if (options.normalized) s.pull_back(df);
  detail::put_gradients(df, options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace pare
