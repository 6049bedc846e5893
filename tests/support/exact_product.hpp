#pragma once

#include <cmath>

#include "pare/core/tensor.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "support/catch.hpp"

namespace pare::test {

/// A factor of a product in double, and what bounds the terms that kernels split it into.
struct Factor {
  Matrix<double> values, magnitudes;
  explicit Factor(Shape<2> shape) : values(shape), magnitudes(shape) {}
};

/// scale * (code - zero_point) is exact in double; a codebook's values stand for codes. Kernels
/// count both codes and zero points from the middle of the codes.
template <Format F>
[[nodiscard]] Factor weight_factor(const QuantizedMatrix<F>& q) {
  Factor w({q.rows(), q.cols()});
  const int center = 1 << (F::code_bits - 1);
  for (Index i = 0; i < q.rows(); ++i)
    for (Index j = 0; j < q.cols(); ++j) {
      auto parameters = q.parameters()(i, q.group_of(j));
      const double scale = parameters.scale;
      const double zero = F::has_zero_point ? F::zero_point(parameters) - center : 0.0;
      parameters.scale = 1.0f;
      F::set_zero_point(parameters, center);
      const double code = F::decode(q.code(i, j), parameters);
      w.values(i, j) = scale * (code - zero);
      w.magnitudes(i, j) = std::abs(scale) * (std::abs(code) + std::abs(zero));
    }
  return w;
}

[[nodiscard]] inline Factor activation_factor(MatrixView<const float> activations) {
  Factor x(activations.shape());
  for (Index t = 0; t < activations.rows(); ++t)
    for (Index j = 0; j < activations.cols(); ++j) {
      x.values(t, j) = activations(t, j);
      x.magnitudes(t, j) = std::abs(x.values(t, j));
    }
  return x;
}

/// x wᵀ, summed in double once for all kernels that are compared with it.
class ExactProduct {
 public:
  ExactProduct(const Factor& x, const Factor& w)
      : sums_({x.values.rows(), w.values.rows()}), magnitudes_(sums_.shape()) {
    for (Index t = 0; t < sums_.rows(); ++t)
      for (Index i = 0; i < sums_.cols(); ++i)
        for (Index k = 0; k < w.values.cols(); ++k) {
          sums_(t, i) += x.values(t, k) * w.values(i, k);
          magnitudes_(t, i) += x.magnitudes(t, k) * w.magnitudes(i, k);
        }
  }

  /// n additions of float32 terms are off by at most n 2^-24 sum |term|. Only an element that fails
  /// becomes an assertion: one for each would take longer than the product.
  void check(MatrixView<const float> y, Index additions) const {
    REQUIRE(y.shape() == sums_.shape());
    for (Index t = 0; t < y.rows(); ++t)
      for (Index i = 0; i < y.cols(); ++i) {
        const double error = std::abs(y(t, i) - sums_(t, i));
        const double allowed = static_cast<double>(additions) * 0x1p-24 * magnitudes_(t, i);
        if (error <= allowed) continue;
        CAPTURE(t, i, sums_(t, i), y(t, i));
        REQUIRE(error <= allowed);
      }
  }

 private:
  Matrix<double> sums_, magnitudes_;
};

}  // namespace pare::test
