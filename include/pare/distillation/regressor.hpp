#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

/// What makes a student's features as wide as the teacher's: rows x are turned into
///
///     y = relu(norm(x Wᵀ + b))
///
/// of which all but the product may be left out. A 1x1 convolution is one of rows (batch x
/// positions, channels), a k x k one of rows of patches, which convolution_hint_loss makes. Its
/// parameters are learned with the student's.
///
/// Shapes    weight (out, in); bias, gamma and beta (out), or empty; the norm is over the rows of
/// the batch
///           (batch norm in training) and is there where gamma is
/// Source    Romero et al., "FitNets", 2015; RepDistiller's ConvReg
template <class T>
struct Regressor {
  MatrixView<const T> weight;
  VectorView<const T> bias{}, gamma{}, beta{};
  bool relu = false;
  double epsilon = 1e-5;
};

/// Views for the gradients of a regressor's parameters, or {}; they are added to.
template <class T>
struct RegressorGradients {
  MatrixView<T> weight{};
  VectorView<T> bias{}, gamma{}, beta{};
};

/// A regressor's way forward, remembered for the way back, in double.
template <class T>
class Regression {
 public:
  /// Throws ShapeError for parameters that do not fit x or each other, NumericError for what is not
  /// finite.
  Regression(const Regressor<T>& regressor, Matrix<double> x, const Execution& execution = {})
      : regressor_(regressor),
        x_(std::move(x)),
        weight_(detail::feature_values(regressor.weight, "regressor")),
        y_({x_.rows(), weight_.rows()}) {
    if (weight_.cols() != x_.cols())
      throw ShapeError("a regressor of " + to_string(weight_.shape()) +
                       " does not fit features of " + to_string(x_.shape()));
    const auto require = [&](VectorView<const T> v, const char* what) {
      if (!v.empty() && v.size() != weight_.rows())
        throw ShapeError("the regressor's " + std::string(what) + " has " +
                         std::to_string(v.size()) + " values, it has " +
                         std::to_string(weight_.rows()) + " outputs");
      for (Index j = 0; j < v.size(); ++j)
        if (!is_finite(v[j]))
          throw NumericError("the regressor's " + std::string(what) +
                             " holds a value that is not finite");
    };
    require(regressor.bias, "bias");
    require(regressor.gamma, "gamma");
    require(regressor.beta, "beta");
    if (regressor.beta.empty() != regressor.gamma.empty())
      throw ShapeError("a norm has gamma and beta, or neither");
    if (!regressor.gamma.empty() && !(is_finite(regressor.epsilon) && regressor.epsilon > 0.0))
      throw ArgumentError("the epsilon of a norm is " + std::to_string(regressor.epsilon) +
                          ": it must be a positive number");
    if (!regressor.gamma.empty()) detail::require_batch(x_.rows(), 2, "variance for a norm");
    gemm(1.0, x_, weight_.view().transposed(), y_, execution);
    for (Index j = 0; j < y_.cols() && !regressor.bias.empty(); ++j)
      for (Index i = 0; i < y_.rows(); ++i) y_(i, j) += static_cast<double>(regressor.bias[j]);
    if (!regressor.gamma.empty()) normalize();
    for (Index i = 0; i < y_.size() && regressor.relu; ++i)
      if (y_.data()[i] < 0.0) y_.data()[i] = 0.0;
  }

  [[nodiscard]] const Matrix<double>& values() const noexcept { return y_; }

  /// Throws ShapeError for gradients of other shapes than the parameters'.
  void require_fit(const RegressorGradients<T>& gradients) const {
    const auto require = [](const auto& gradient, const auto& parameter, const char* what) {
      if (!gradient.empty() && gradient.shape() != parameter.shape())
        throw ShapeError("the gradient of the regressor's " + std::string(what) +
                         " has the shape " + to_string(gradient.shape()) + ", the " + what + " " +
                         to_string(parameter.shape()));
    };
    require(gradients.weight, weight_, "weight");
    require(gradients.bias, regressor_.bias, "bias");
    require(gradients.gamma, regressor_.gamma, "gamma");
    require(gradients.beta, regressor_.beta, "beta");
  }

  /// Adds to the parameters' gradients, times `factor`, and returns that of x, without it. Throws
  /// as require_fit.
  [[nodiscard]] Matrix<double> pull_back(Matrix<double> dy, double factor,
                                         const RegressorGradients<T>& gradients,
                                         const Execution& execution = {}) const {
    require_fit(gradients);
    const auto rows = static_cast<double>(y_.rows());
    for (Index i = 0; i < dy.size() && regressor_.relu; ++i)
      if (y_.data()[i] <= 0.0) dy.data()[i] = 0.0;
    const auto add = [&](VectorView<T> to, Index j, double value) {
      if (!to.empty()) detail::put_gradient(to[j], factor * value, true);
    };
    for (Index j = 0; j < dy.cols() && !regressor_.gamma.empty(); ++j) {
      double sum = 0.0, along = 0.0;
      for (Index i = 0; i < dy.rows(); ++i) {
        sum += dy(i, j);
        along += dy(i, j) * normed_(i, j);
      }
      add(gradients.gamma, j, along);
      add(gradients.beta, j, sum);
      const double scale = static_cast<double>(regressor_.gamma[j]) * reciprocals_[j];
      for (Index i = 0; i < dy.rows(); ++i)
        dy(i, j) = scale * (dy(i, j) - sum / rows - normed_(i, j) * along / rows);
    }
    for (Index j = 0; j < dy.cols() && !gradients.bias.empty(); ++j) {
      double sum = 0.0;
      for (Index i = 0; i < dy.rows(); ++i) sum += dy(i, j);
      add(gradients.bias, j, sum);
    }
    if (!gradients.weight.empty()) {
      Matrix<double> dw(weight_.shape());
      gemm(1.0, dy.view().transposed(), x_, dw, execution);
      for (Index i = 0; i < dw.rows(); ++i)
        for (Index j = 0; j < dw.cols(); ++j)
          detail::put_gradient(gradients.weight(i, j), factor * dw(i, j), true);
    }
    Matrix<double> dx(x_.shape());
    gemm(1.0, dy, weight_, dx, execution);
    return dx;
  }

 private:
  void normalize() {
    const auto rows = static_cast<double>(y_.rows());
    normed_ = Matrix<double>(y_.shape());
    reciprocals_ = Vector<double>({y_.cols()});
    for (Index j = 0; j < y_.cols(); ++j) {
      double mean = 0.0, square = 0.0;
      for (Index i = 0; i < y_.rows(); ++i) mean += y_(i, j) / rows;
      for (Index i = 0; i < y_.rows(); ++i) square += (y_(i, j) - mean) * (y_(i, j) - mean) / rows;
      reciprocals_[j] = 1.0 / std::sqrt(square + regressor_.epsilon);
      for (Index i = 0; i < y_.rows(); ++i) {
        normed_(i, j) = (y_(i, j) - mean) * reciprocals_[j];
        y_(i, j) = static_cast<double>(regressor_.gamma[j]) * normed_(i, j) +
                   static_cast<double>(regressor_.beta[j]);
      }
    }
  }

  Regressor<T> regressor_;
  Matrix<double> x_, weight_, y_, normed_;
  Vector<double> reciprocals_;
};

}  // namespace pare
