#pragma once

#include <cmath>

#include "pare/core/tensor.hpp"
#include "pare/distillation/response.hpp"

namespace pare {

/// Logits of which each row has the mean 0 and the deviation 1, for any loss: the student learns
/// the teacher's relations, not its scale.
///
///     z_ij = (logit_ij - mean_i) / (1e-7 + std_i),   std unbiased: of classes - 1
///
///     const StandardizedLogits<float> s(student), t(teacher);
///     loss = kl_loss(s.values(), t.values(), {.temperature = 2}, of_z);
///     s.pull_back(of_z, gradient);
///
/// Shapes    logits (samples, classes)
/// Errors    ShapeError without classes; NumericError naming a logit that is not finite
/// Edge      a row of equal logits, or a single class, becomes 0, and so does its gradient
/// Accuracy  double inside
/// Source    Sun et al., "Logit Standardization in Knowledge Distillation", 2024, and the authors'
///           code, which differentiates the deviation too
template <class T>
class StandardizedLogits {
 public:
  explicit StandardizedLogits(LossInput<T> logits)
      : values_(logits.shape()), deviations_({logits.rows()}) {
    if (logits.cols() == 0)
      throw ShapeError("logits without classes: " + to_string(logits.shape()));
    const auto classes = static_cast<double>(logits.cols());
    for (Index i = 0; i < logits.rows(); ++i) {
      detail::require_finite_logits(logits.row(i), "model", i);
      double mean = 0.0, squares = 0.0;
      for (Index j = 0; j < logits.cols(); ++j) mean += static_cast<double>(logits(i, j));
      mean /= classes;
      for (Index j = 0; j < logits.cols(); ++j) {
        const double d = static_cast<double>(logits(i, j)) - mean;
        squares += d * d;
      }
      deviations_[i] = logits.cols() > 1 ? std::sqrt(squares / (classes - 1.0)) : 0.0;
      for (Index j = 0; j < logits.cols(); ++j)
        values_(i, j) =
            static_cast<T>(deviations_[i] == 0.0 ? 0.0
                                                 : (static_cast<double>(logits(i, j)) - mean) /
                                                       (deviations_[i] + epsilon));
    }
  }

  [[nodiscard]] MatrixView<const T> values() const noexcept { return values_; }

  /// The gradient with respect to the logits from that with respect to values(); both may be one
  /// matrix. Throws ShapeError for another shape.
  void pull_back(LossInput<T> of_values, LossGradient<T> gradient, bool add = false) const {
    detail::require_loss_shape(of_values.shape(), values_.shape(), "gradient");
    detail::require_loss_shape(gradient.shape(), values_.shape(), "gradient");
    const auto classes = static_cast<double>(values_.cols());
    for (Index i = 0; i < values_.rows(); ++i) {
      const double deviation = deviations_[i];
      double mean = 0.0, along = 0.0;
      for (Index j = 0; j < values_.cols(); ++j) {
        mean += static_cast<double>(of_values(i, j)) / classes;
        along += static_cast<double>(of_values(i, j)) * static_cast<double>(values_(i, j));
      }
      for (Index j = 0; j < values_.cols(); ++j) {
        const double z = static_cast<double>(values_(i, j));
        // The derivative of the deviation is z (deviation + epsilon) / (deviation (classes - 1)).
        const double value = deviation == 0.0 ? 0.0
                                              : (static_cast<double>(of_values(i, j)) - mean) /
                                                        (deviation + epsilon) -
                                                    z * along / (deviation * (classes - 1.0));
        detail::put_gradient(gradient(i, j), value, add);
      }
    }
  }

 private:
  static constexpr double epsilon = 1e-7;
  Matrix<T> values_;
  Vector<double> deviations_;
};

}  // namespace pare
