#pragma once

#include <cmath>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/distillation/loss.hpp"
#include "pare/distillation/samples.hpp"
#include "pare/kernels/gemm.hpp"

/// What losses between features share: values in double, checks, and pull-backs through what they
/// are made of.
namespace pare::detail {

/// A copy in double. Throws NumericError for a value that is not finite, ShapeError for none at
/// all.
template <class T, std::size_t Rank>
[[nodiscard]] Tensor<double, Rank> feature_values(TensorView<const T, Rank> view, const char* who) {
  if (view.empty())
    throw ShapeError("the " + std::string(who) + " has no values: shape " +
                     to_string(view.shape()));
  Tensor<double, Rank> values(view);
  for (Index i = 0; i < values.size(); ++i)
    if (!is_finite(values.data()[i]))
      throw NumericError("the " + std::string(who) + " holds a value that is not finite");
  return values;
}

/// Writes a gradient, or adds it, where there is a view for it.
template <class T, std::size_t Rank>
void put_gradients(const Tensor<double, Rank>& values, const LossOptions& options,
                   TensorView<T, Rank> gradient) {
  if (gradient.data() == nullptr) return;
  if constexpr (Rank == 1) {
    for (Index i = 0; i < values.size(); ++i)
      put_gradient(gradient[i], options.weight * values[i], options.add_gradient);
  } else {
    for (Index i = 0; i < values.extent(0); ++i) {
      const auto from = values.row(i);
      Tensor<double, Rank - 1> row(from);
      put_gradients(row, options, gradient.row(i));
    }
  }
}

/// Throws ShapeError unless both have as many rows, samples of one batch.
inline void require_same_batch(Index student, Index teacher) {
  if (student != teacher)
    throw ShapeError("there are " + std::to_string(student) + " samples of the student and " +
                     std::to_string(teacher) + " of the teacher");
}

/// Rows of length 1, and what they were; a row of zeros stays one, and has no gradient.
class UnitRows {
 public:
  /// Rows are divided by their norm + `epsilon`.
  explicit UnitRows(const Matrix<double>& x, double epsilon = 0.0)
      : unit_(x), norms_({x.rows()}), epsilon_(epsilon) {
    for (Index i = 0; i < x.rows(); ++i) {
      double square = 0.0;
      for (Index j = 0; j < x.cols(); ++j) square += x(i, j) * x(i, j);
      norms_[i] = std::sqrt(square);
      for (Index j = 0; j < x.cols() && norms_[i] > 0.0; ++j) unit_(i, j) /= norms_[i] + epsilon;
    }
  }
  [[nodiscard]] const Matrix<double>& values() const noexcept { return unit_; }
  /// The gradient of x from that of the values, in place.
  void pull_back(Matrix<double>& gradient) const {
    for (Index i = 0; i < unit_.rows(); ++i) {
      const double norm = norms_[i], length = norm + epsilon_;
      double along = 0.0;
      // unit = x / length, d length = x / norm . dx
      for (Index j = 0; j < unit_.cols(); ++j) along += gradient(i, j) * unit_(i, j);
      for (Index j = 0; j < unit_.cols(); ++j)
        gradient(i, j) =
            norm == 0.0 ? 0.0 : (gradient(i, j) - along * unit_(i, j) * length / norm) / length;
    }
  }

 private:
  Matrix<double> unit_;
  Vector<double> norms_;
  double epsilon_;
};

/// a bᵀ
[[nodiscard]] inline Matrix<double> product_with_transpose(const Matrix<double>& a,
                                                           const Matrix<double>& b) {
  Matrix<double> c({a.rows(), b.rows()});
  gemm(1.0, a, b.view().transposed(), c);
  return c;
}
/// c += (g + gᵀ) x: the gradient of x from that, g, of x xᵀ.
inline void pull_back_gram(const Matrix<double>& g, const Matrix<double>& x, Matrix<double>& c) {
  gemm(1.0, g, x, c);
  gemm(1.0, g.view().transposed(), x, c);
}

}  // namespace pare::detail
