#pragma once

#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/gram.hpp"

namespace pare {

/// The second moments of a layer's inputs: the Hessian of its squared output error.
///
///     H = (2 / count) * sum over tokens of x xᵀ
///
/// Shapes    (in_features, in_features), symmetric
/// Accuracy  float32 sums of at most 256 tokens, added in float64
/// Cost      in_features^2 doubles, whatever the number of tokens
/// Order     independent of the number of threads; it depends on how tokens are cut into calls
class Hessian {
 public:
  /// Throws ShapeError for a negative number.
  explicit Hessian(Index in_features) : upper_({in_features, in_features}) {}

  /// A stored Hessian that `count` tokens gave; only the upper half of `h` is read.
  /// Throws ShapeError when it is not square, ArgumentError unless count is positive,
  /// NumericError naming an element that is not finite.
  template <class T>
  [[nodiscard]] static Hessian from_matrix(MatrixView<T> h, Index count) {
    if (h.rows() != h.cols()) throw ShapeError("a Hessian is square, not " + to_string(h.shape()));
    if (count <= 0)
      throw ArgumentError("a Hessian of " + std::to_string(count) + " tokens means nothing");
    require_finite_upper(h, "the Hessian");
    Hessian result(h.rows());
    result.count_ = count;
    for (Index i = 0; i < h.rows(); ++i)
      for (Index j = i; j < h.cols(); ++j)
        result.upper_(i, j) = static_cast<double>(h(i, j)) * (static_cast<double>(count) / 2.0);
    return result;
  }
  template <class T>
  [[nodiscard]] static Hessian from_matrix(const Matrix<T>& h, Index count) {
    return from_matrix(h.view(), count);
  }

  /// Adds the tokens of x (tokens, in_features). Throws ShapeError when the widths differ and
  /// NumericError naming an element that is not finite; the sums are then unchanged.
  void add(MatrixView<const float> x, const Execution& execution = {}) {
    if (x.cols() != in_features())
      throw ShapeError("activations of shape " + to_string(x.shape()) +
                       " do not fit a Hessian of " + std::to_string(in_features()) + " inputs");
    require_finite(x, "activation");
    with_standard_floats(execution,
                         [&](const Execution& standard) { gram_upper(x, upper_, standard); });
    count_ += x.rows();
  }

  /// Adds what another one has seen. Throws ShapeError when the sizes differ.
  void merge(const Hessian& other);

  [[nodiscard]] Index in_features() const noexcept { return upper_.rows(); }
  /// Tokens seen.
  [[nodiscard]] Index count() const noexcept { return count_; }

  /// H. Throws ArgumentError when no token was seen.
  [[nodiscard]] Matrix<double> matrix(const Execution& execution = {}) const;
  /// The diagonal of H. Throws as matrix().
  [[nodiscard]] Vector<double> diagonal() const;

  /// H without a copy: sum of x xᵀ, of which only the upper half is meant, times scale().
  [[nodiscard]] MatrixView<const double> upper_sums() const { return upper_; }
  /// 2 / count. Throws as matrix().
  [[nodiscard]] double scale() const {
    if (count_ == 0) throw ArgumentError("the Hessian has seen no token");
    return 2.0 / static_cast<double>(count_);
  }

 private:
  Matrix<double> upper_;  ///< sum of x xᵀ; zero below the diagonal
  Index count_ = 0;
};

inline void Hessian::merge(const Hessian& other) {
  if (other.in_features() != in_features())
    throw ShapeError("cannot merge Hessians of " + std::to_string(in_features()) + " and " +
                     std::to_string(other.in_features()) + " inputs");
  for (Index k = 0; k < upper_.size(); ++k) upper_.data()[k] += other.upper_.data()[k];
  count_ += other.count_;
}

inline Matrix<double> Hessian::matrix(const Execution& execution) const {
  const double factor = scale();
  Matrix<double> h(upper_.shape());
  execution.parallel_for(in_features(), [&](Index i) {
    for (Index j = i; j < in_features(); ++j) h(i, j) = upper_(i, j) * factor;
  });
  mirror_upper(h, execution);
  return h;
}

inline Vector<double> Hessian::diagonal() const {
  Vector<double> d({in_features()});
  const double factor = scale();
  for (Index i = 0; i < in_features(); ++i) d[i] = upper_(i, i) * factor;
  return d;
}

}  // namespace pare
