#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct PkdOptions {
  bool normalized = true;  ///< rows are given the length 1 first
  /// The sum over features in place of their mean: TextBrewer's, of one layer.
  bool sums_features = false;
  SampleOptions common{};
};

/// Patient distillation: squared differences of the classification tokens of chosen layers.
///
///     L_i = mean over features of (u_s - u_t)^2,   u = h / |h|
///
/// Shapes    student, teacher, gradient (batch x layers, features), a row for each pair of layers
/// Values    the mean over rows: samples and layers
/// Errors    ShapeError; ArgumentError for weights; NumericError for what is not finite
/// Edge      a row of zeros stays one, and has no gradient
/// Source    Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019
template <class T = float>
double pkd_loss(LossInput<T> student, LossInput<T> teacher, const PkdOptions& options = {},
                LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(gradient, student.shape());
  if (student.empty())
    throw ShapeError("the student has no values: shape " + to_string(student.shape()));
  const double share = options.sums_features ? 1.0 : 1.0 / static_cast<double>(student.cols());
  const auto row_of = [&](MatrixView<const T> features, Index i, bool is_read) {
    Matrix<double> row({1, features.cols()});
    for (Index j = 0; j < row.cols() && is_read; ++j)
      row(0, j) = static_cast<double>(features(i, j));
    for (const double v : row)
      if (!is_finite(v))
        throw NumericError("features of sample " + std::to_string(i) + " are not finite");
    return row;
  };
  return detail::sum_over_samples(
      student.rows(), options.common, execution, [&](Index i, double factor) {
        const Matrix<double> hs = row_of(student, i, factor != 0.0);
        const Matrix<double> ht = row_of(teacher, i, factor != 0.0);
        const detail::UnitRows us(hs), ut(ht);
        Matrix<double> d(hs.shape());
        double loss = 0.0;
        for (Index j = 0; j < d.cols(); ++j) {
          const double difference =
              options.normalized ? us.values()(0, j) - ut.values()(0, j) : hs(0, j) - ht(0, j);
          loss += share * difference * difference;
          d(0, j) = 2.0 * share * difference;
        }
        if (options.normalized) us.pull_back(d);
        for (Index j = 0; j < d.cols() && gradient.data() != nullptr; ++j)
          detail::put_gradient(gradient(i, j), factor * d(0, j), options.common.add_gradient);
        return loss;
      });
}

}  // namespace pare
