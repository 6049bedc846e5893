#pragma once

#include <cmath>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

namespace detail {

/// The largest code of so many bits. Throws ArgumentError unless they are 1 to 16.
[[nodiscard]] inline double largest_unsigned_code(int bits) {
  if (bits < 1 || bits > 16)
    throw ArgumentError("codes of " + std::to_string(bits) + " bits: there are 1 to 16");
  return std::ldexp(1.0, bits) - 1.0;
}

inline void require_same_matrix(const Shape<2>& x, const Shape<2>& other, const char* what) {
  if (x != other)
    throw ShapeError(std::string(what) + " has shape " + to_string(other) + ", x " + to_string(x));
}

}  // namespace detail

/// Activations that are clipped at a learned value, then rounded.
///
///     y = round_half_even(clip(x, 0, alpha) (2^b - 1) / alpha) alpha / (2^b - 1)
///
/// Shapes    x, y of one shape; y may be x
/// Errors    ShapeError; ArgumentError for an alpha that is no positive number, or bits outside 1
/// to 16;
///           NumericError for what is not finite
/// Accuracy  double
/// Source    Choi et al., "PACT: Parameterized Clipping Activation", 2018
inline void pact(MatrixView<const float> x, float alpha, int bits, MatrixView<float> y) {
  const double largest = detail::largest_unsigned_code(bits);
  detail::require_same_matrix(x.shape(), y.shape(), "y");
  if (!is_finite(alpha) || alpha <= 0.0f)
    throw ArgumentError("PACT clips at " + std::to_string(alpha) +
                        ": it must be a positive number");
  require_finite(x, "x");
  const double scale = largest / static_cast<double>(alpha);
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j) {
      const double v = static_cast<double>(x(i, j));
      const double clipped = std::min(std::max(v, 0.0), static_cast<double>(alpha));
      y(i, j) = static_cast<float>(std::nearbyint(clipped * scale) / scale);
    }
}

/// Its gradients: dx passes dy where 0 <= x < alpha; returns that of alpha, the sum of dy where x
/// >= alpha. dx may be dy.
[[nodiscard]] inline double pact_backward(MatrixView<const float> x, float alpha,
                                          MatrixView<const float> dy, MatrixView<float> dx) {
  detail::require_same_matrix(x.shape(), dy.shape(), "dy");
  detail::require_same_matrix(x.shape(), dx.shape(), "dx");
  double d_alpha = 0.0;
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j) {
      const float v = x(i, j), upstream = dy(i, j);
      if (v >= alpha) d_alpha += static_cast<double>(upstream);
      dx(i, j) = v >= 0.0f && v < alpha ? upstream : 0.0f;
    }
  return d_alpha;
}

}  // namespace pare
