#pragma once

#include <cmath>

#include "pare/core/random.hpp"
#include "pare/quantization/pact.hpp"

/// DoReFa: weights, activations and gradients of few bits, all in [0, 1] where they are rounded.
/// Source: Zhou et al., "DoReFa-Net", 2016
namespace pare {

namespace detail {

/// round_half_even(r (2^b - 1)) / (2^b - 1)
[[nodiscard]] inline double rounded_unit(double r, double largest) noexcept {
  return std::nearbyint(r * largest) / largest;
}
/// max |tanh w|; 1 for weights of zero alone.
[[nodiscard]] inline double largest_tanh(MatrixView<const float> w) {
  double largest = 0.0;
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j)
      largest = std::max(largest, std::fabs(std::tanh(static_cast<double>(w(i, j)))));
  return largest == 0.0 ? 1.0 : largest;
}

}  // namespace detail

/// y = 2 round(tanh(w) / (2 max |tanh w|) + 1/2) - 1, rounded to so many bits: in [-1, 1].
///
/// Errors    ShapeError; ArgumentError for bits outside 1 to 16; NumericError for what is not
/// finite
inline void dorefa_weight(MatrixView<const float> w, int bits, MatrixView<float> y) {
  const double codes = detail::largest_unsigned_code(bits);
  detail::require_same_matrix(w.shape(), y.shape(), "y");
  require_finite(w, "weight");
  const double largest = detail::largest_tanh(w);
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      const double r = std::tanh(static_cast<double>(w(i, j))) / (2.0 * largest) + 0.5;
      y(i, j) = static_cast<float>(2.0 * detail::rounded_unit(r, codes) - 1.0);
    }
}

/// Its gradient, straight through the rounding. The maximum is a constant, as in distiller, or,
/// where `through_maximum`, it has a part in the gradient, as in tensorpack. dw may be dy.
inline void dorefa_weight_backward(MatrixView<const float> w, MatrixView<const float> dy,
                                   MatrixView<float> dw, bool through_maximum = false) {
  detail::require_same_matrix(w.shape(), dy.shape(), "dy");
  detail::require_same_matrix(w.shape(), dw.shape(), "dw");
  require_finite(w, "weight");
  const double largest = detail::largest_tanh(w);
  double along = 0.0;
  Index max_i = 0, max_j = 0, ties = 0;
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      const double t = std::tanh(static_cast<double>(w(i, j)));
      along += static_cast<double>(dy(i, j)) * t;
      if (std::fabs(t) == largest && ties++ == 0) max_i = i, max_j = j;
    }
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      const double t = std::tanh(static_cast<double>(w(i, j)));
      double d = static_cast<double>(dy(i, j)) / largest;
      if (through_maximum && ties > 0 && i == max_i && j == max_j)
        d -= (t < 0.0 ? -1.0 : 1.0) * along / (largest * largest);
      dw(i, j) = static_cast<float>(d * (1.0 - t * t));
    }
}

/// y = round(clip(x, 0, 1)) to so many bits. Errors as dorefa_weight; y may be x.
inline void dorefa_activation(MatrixView<const float> x, int bits, MatrixView<float> y) {
  pact(x, 1.0f, bits, y);
}
/// Passes dy where 0 < x < 1; dx may be dy.
inline void dorefa_activation_backward(MatrixView<const float> x, MatrixView<const float> dy,
                                       MatrixView<float> dx) {
  detail::require_same_matrix(x.shape(), dy.shape(), "dy");
  detail::require_same_matrix(x.shape(), dx.shape(), "dx");
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j)
      dx(i, j) = x(i, j) > 0.0f && x(i, j) < 1.0f ? dy(i, j) : 0.0f;
}

/// A gradient of so many bits: each row over twice its largest size, moved to [0, 1], with uniform
/// noise of a step around it so that its mean is kept.
///
///     y = 2 m (round(clip(d / (2 m) + 1/2 + noise / (2^b - 1), 0, 1)) - 1/2),   m = max |d| of the
///     row
///
/// Shapes    d, noise, y of one shape; noise in [-1/2, 1/2], see dorefa_noise
/// Errors    as dorefa_weight; a row of zeros stays one
inline void dorefa_gradient(MatrixView<const float> d, MatrixView<const float> noise, int bits,
                            MatrixView<float> y) {
  const double codes = detail::largest_unsigned_code(bits);
  detail::require_same_matrix(d.shape(), noise.shape(), "the noise");
  detail::require_same_matrix(d.shape(), y.shape(), "y");
  require_finite(d, "gradient");
  for (Index i = 0; i < d.rows(); ++i) {
    double largest = 0.0;
    for (Index j = 0; j < d.cols(); ++j)
      largest = std::max(largest, std::fabs(static_cast<double>(d(i, j))));
    for (Index j = 0; j < d.cols(); ++j) {
      if (largest == 0.0) {
        y(i, j) = 0.0f;
        continue;
      }
      const double r = static_cast<double>(d(i, j)) / (2.0 * largest) + 0.5 +
                       static_cast<double>(noise(i, j)) / codes;
      const double q = detail::rounded_unit(std::min(std::max(r, 0.0), 1.0), codes);
      y(i, j) = static_cast<float>(2.0 * largest * (q - 0.5));
    }
  }
}

/// Noise for it.
[[nodiscard]] inline Matrix<float> dorefa_noise(Shape<2> shape, Random& random) {
  Matrix<float> noise(shape);
  for (float& v : noise) v = random.uniform(-0.5f, 0.5f);
  return noise;
}

}  // namespace pare
