#pragma once

#include <cmath>

#include "pare/core/tensor.hpp"
#include "pare/quantization/learned_scale.hpp"

namespace pare {

/// Gradients of LSQ+'s parameters.
struct LsqPlusGradient {
  double scale = 0.0, offset = 0.0;
};

namespace detail {

/// x - offset, in float.
[[nodiscard]] inline Matrix<float> shifted(MatrixView<const float> x, float offset) {
  if (!is_finite(offset))
    throw ArgumentError("the offset is " + std::to_string(offset) + ": it must be finite");
  Matrix<float> s(x);
  for (float& v : s) v -= offset;
  return s;
}

}  // namespace detail

/// Fake quantization with a learned scale and a learned offset, for activations that are not
/// centred.
///
///     y = scale * clip(round_half_even((x - offset) / scale), lo, hi) + offset
///
/// Shapes    x, y (any); one scale and offset for all
/// Errors    as fake_quantize; ArgumentError for an offset that is not finite
/// Source    Bhalgat et al., "LSQ+: Improving low-bit quantization through learnable offsets", 2020
inline void lsq_plus(MatrixView<const float> x, float scale, float offset,
                     const FakeQuantizeOptions& options, MatrixView<float> y) {
  fake_quantize(detail::shifted(x, offset), AffineParameters{scale, 0}, options, y);
  for (Index i = 0; i < y.rows(); ++i)
    for (Index j = 0; j < y.cols(); ++j) y(i, j) += offset;
}

/// Its gradients: of x into dx, straight through where codes are inside; of the scale as LSQ; of
/// the offset what is outside. Both are multiplied by `factor`, see learned_scale_factor.
[[nodiscard]] inline LsqPlusGradient lsq_plus_backward(MatrixView<const float> x, float scale,
                                                       float offset,
                                                       const FakeQuantizeOptions& options,
                                                       float factor, MatrixView<const float> dy,
                                                       MatrixView<float> dx) {
  const Matrix<float> s = detail::shifted(x, offset);
  const AffineParameters parameters{scale, 0};
  LsqPlusGradient gradient;
  // Before dx, which may be dy, is written.
  const detail::FakeQuantizer quantizer(parameters, options);
  detail::require_same_shape(x.shape(), dy.shape(), "dy");
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j)
      if (!quantizer.inside(s(i, j), quantizer.code(s(i, j))))
        gradient.offset += static_cast<double>(dy(i, j)) * static_cast<double>(factor);
  gradient.scale = learned_scale_backward(s, parameters, options, factor, dy, dx);
  return gradient;
}

/// LSQ+'s first scale of weights, max(|mean - 3 deviations|, |mean + 3 deviations|) / 2^(bits - 1).
/// Throws ArgumentError for no values or fewer bits than 2, NumericError for what is not finite.
[[nodiscard]] inline float lsq_plus_scale_start(MatrixView<const float> w, int bits) {
  if (w.empty() || bits < 2) throw ArgumentError("a first scale needs values and at least 2 bits");
  require_finite(w, "weight");
  double sum = 0.0, squares = 0.0;
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) sum += static_cast<double>(w(i, j));
  const double mean = sum / static_cast<double>(w.size());
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      const double d = static_cast<double>(w(i, j)) - mean;
      squares += d * d;
    }
  const double deviation = std::sqrt(squares / static_cast<double>(w.size()));
  const double largest =
      std::max(std::fabs(mean - 3.0 * deviation), std::fabs(mean + 3.0 * deviation));
  return largest == 0.0 ? 1.0f : static_cast<float>(std::ldexp(largest, 1 - bits));
}

}  // namespace pare
