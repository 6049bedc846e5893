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

/// Throws NumericError for a value that is not finite.
template <std::size_t Rank>
void require_finite(const Tensor<double, Rank>& values, const char* who) {
  for (Index i = 0; i < values.size(); ++i)
    if (!is_finite(values.data()[i]))
      throw NumericError("the " + std::string(who) + " holds a value that is not finite");
}

/// A copy in double. Throws NumericError for a value that is not finite, ShapeError for none at
/// all.
template <class T, std::size_t Rank>
[[nodiscard]] Tensor<double, Rank> feature_values(TensorView<const T, Rank> view, const char* who) {
  if (view.empty())
    throw ShapeError("the " + std::string(who) + " has no values: shape " +
                     to_string(view.shape()));
  Tensor<double, Rank> values(view);
  require_finite(values, who);
  return values;
}

/// Throws ShapeError for a mask of another shape, ArgumentError for what is neither 0 nor 1.
inline void require_token_mask(MatrixView<const double> mask, Index batch, Index tokens) {
  if (mask.empty()) return;
  if (mask.shape() != Shape<2>{batch, tokens})
    throw ShapeError("the mask has the shape " + to_string(mask.shape()) + " for " +
                     to_string(Shape<2>{batch, tokens}) + " tokens");
  for (Index b = 0; b < batch; ++b)
    for (Index t = 0; t < tokens; ++t)
      if (!is_finite(mask(b, t)) || (mask(b, t) != 0.0 && mask(b, t) != 1.0))
        throw ArgumentError("the mask of token " + std::to_string(t) + " of sample " +
                            std::to_string(b) + " is " + std::to_string(mask(b, t)) +
                            ": it must be 1, or 0 for padding");
}

/// States (batch, tokens, width) in double, those of padding 0 whatever they hold.
template <class T>
[[nodiscard]] Tensor<double, 3> state_values(TensorView<const T, 3> states,
                                             MatrixView<const double> mask, const char* who) {
  if (mask.empty()) return feature_values(states, who);
  require_token_mask(mask, states.extent(0), states.extent(1));
  Tensor<double, 3> values(states);
  for (Index b = 0; b < values.extent(0); ++b)
    for (Index t = 0; t < values.extent(1); ++t)
      for (Index j = 0; j < values.extent(2) && mask(b, t) == 0.0; ++j) values(b, t, j) = 0.0;
  require_finite(values, who);
  return values;
}

template <class T, std::size_t Rank>
void put_gradient_rows(TensorView<const double, Rank> values, const LossOptions& options,
                       TensorView<T, Rank> gradient) {
  for (Index i = 0; i < values.extent(0); ++i)
    if constexpr (Rank == 1)
      put_gradient(gradient[i], options.weight * values[i], options.add_gradient);
    else
      put_gradient_rows(values.row(i), options, gradient.row(i));
}

/// Writes a gradient, or adds it, where there is a view for it. Throws ArgumentError for a weight
/// that is no number.
template <class T, std::size_t Rank>
void put_gradients(const Tensor<double, Rank>& values, const LossOptions& options,
                   TensorView<T, Rank> gradient) {
  require_loss_weight(options.weight);
  if (gradient.data() != nullptr) put_gradient_rows<T, Rank>(values.view(), options, gradient);
}

/// Throws ShapeError unless both have as many rows, samples of one batch.
inline void require_same_batch(Index student, Index teacher) {
  if (student != teacher)
    throw ShapeError("there are " + std::to_string(student) + " samples of the student and " +
                     std::to_string(teacher) + " of the teacher");
}

/// Throws ShapeError for a batch that is too small to have what a loss compares.
inline void require_batch(Index batch, Index least, const std::string& what) {
  if (batch < least)
    throw ShapeError("a batch of " + std::to_string(batch) + " has no " + what +
                     ": it takes at least " + std::to_string(least) + " samples");
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
                                                           const Matrix<double>& b,
                                                           const Execution& execution = {}) {
  Matrix<double> c({a.rows(), b.rows()});
  gemm(1.0, a, b.view().transposed(), c, execution);
  return c;
}
/// c += (g + gᵀ) x: the gradient of x from that, g, of x xᵀ.
inline void pull_back_gram(const Matrix<double>& g, const Matrix<double>& x, Matrix<double>& c,
                           const Execution& execution = {}) {
  gemm(1.0, g, x, c, execution);
  gemm(1.0, g.view().transposed(), x, c, execution);
}

}  // namespace pare::detail
