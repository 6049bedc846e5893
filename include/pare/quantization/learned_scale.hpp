#pragma once

#include <cmath>
#include <string>

#include "pare/core/tensor.hpp"
#include "pare/quantization/fake_quantize.hpp"

namespace pare {

/// Gradients of fake_quantize when the scales are trained too (learned step size, LSQ). The
/// forward pass is fake_quantize itself.
///
///     dx       as fake_quantize_backward
///     d scale  = factor * sum over the channel of dy * { lo - zero_point    below the codes
///                                                      { hi - zero_point    above them
///                                                      { (y - x) / scale    inside
///
/// Shapes    x, dy, dx (channels, values); parameters, d_scale (channels)
/// Errors    as fake_quantize; x and dy are not checked for NaN
/// Accuracy  sums in float64
/// Order     independent of the number of threads; dx may be dy
/// Source    Esser et al., "Learned step size quantization", 2020, eq. 3; as PyTorch does it,
///           "inside" is decided after rounding unless the options say otherwise; the paper decides
///           before.
inline void learned_scale_backward(MatrixView<const float> x,
                                   VectorView<const AffineParameters> parameters,
                                   const FakeQuantizeOptions& options, float factor,
                                   MatrixView<const float> dy, MatrixView<float> dx,
                                   VectorView<double> d_scale, const Execution& execution = {}) {
  detail::require_fake_quantizable(x.shape(), parameters, options);
  detail::require_same_shape(x.shape(), dy.shape(), "dy");
  detail::require_same_shape(x.shape(), dx.shape(), "dx");
  if (d_scale.size() != x.rows())
    throw ShapeError("d_scale has " + std::to_string(d_scale.size()) + " entries for " +
                     std::to_string(x.rows()) + " channels");
  with_standard_floats(execution, [&](const Execution& standard) {
    standard.parallel_for(x.rows(), [&](Index i) {
      const detail::FakeQuantizer channel(parameters[i], options);
      const float scale = parameters[i].scale, reciprocal = quotient(1.0f, scale);
      double sum = 0.0;
      for (Index j = 0; j < x.cols(); ++j) {
        const float upstream = dy(i, j);
        const std::int32_t code = channel.code(x(i, j));
        const float level = channel.level(code);
        const bool inside = channel.inside(x(i, j), code);
        const float slope = inside ? rounded(std::fma(level, scale, -x(i, j))) * reciprocal : level;
        sum = rounded(sum + static_cast<double>(upstream) * static_cast<double>(rounded(slope)));
        dx(i, j) = upstream * rounded(inside ? 1.0f : 0.0f);
      }
      d_scale[i] = sum * static_cast<double>(factor);
    });
  });
}

/// The same with one scale for the tensor: returns its gradient.
[[nodiscard]] inline double learned_scale_backward(MatrixView<const float> x,
                                                   const AffineParameters& parameters,
                                                   const FakeQuantizeOptions& options, float factor,
                                                   MatrixView<const float> dy, MatrixView<float> dx,
                                                   const Execution& execution = {}) {
  Vector<double> rows({x.rows()});
  learned_scale_backward(x, detail::every_row(parameters, x.rows()), options, factor, dy, dx, rows,
                         execution);
  double sum = 0.0;
  for (Index i = 0; i < rows.size(); ++i) sum += rows[i];
  return sum;
}

/// The gradient of a zero point that is trained too: what is outside moves with it.
///
///     d zero point = factor * sum over the channel of dy * { -scale  outside the codes
///                                                          { 0       inside
///
/// Shapes, errors, accuracy, order as learned_scale_backward
/// Source    PyTorch, _fake_quantize_learnable_per_channel_affine
inline void learned_zero_point_backward(MatrixView<const float> x,
                                        VectorView<const AffineParameters> parameters,
                                        const FakeQuantizeOptions& options, float factor,
                                        MatrixView<const float> dy, VectorView<double> d_zero_point,
                                        const Execution& execution = {}) {
  detail::require_fake_quantizable(x.shape(), parameters, options);
  detail::require_same_shape(x.shape(), dy.shape(), "dy");
  if (d_zero_point.size() != x.rows())
    throw ShapeError("d_zero_point has " + std::to_string(d_zero_point.size()) + " entries for " +
                     std::to_string(x.rows()) + " channels");
  with_standard_floats(execution, [&](const Execution& standard) {
    standard.parallel_for(x.rows(), [&](Index i) {
      const detail::FakeQuantizer channel(parameters[i], options);
      double sum = 0.0;
      for (Index j = 0; j < x.cols(); ++j)
        if (!channel.inside(x(i, j), channel.code(x(i, j)))) sum += static_cast<double>(dy(i, j));
      d_zero_point[i] =
          -sum * static_cast<double>(parameters[i].scale) * static_cast<double>(factor);
    });
  });
}

/// LSQ's gradient factor, 1 / sqrt(count * hi), for `count` weights or activation features.
/// Throws ArgumentError unless both are positive.
[[nodiscard]] inline float learned_scale_factor(Index count, const FakeQuantizeOptions& options) {
  if (count <= 0 || options.hi <= 0)
    throw ArgumentError("a gradient factor needs a positive count and largest code, not " +
                        std::to_string(count) + " and " + std::to_string(options.hi));
  return static_cast<float>(
      1.0 / std::sqrt(static_cast<double>(count) * static_cast<double>(options.hi)));
}

/// LSQ's first scale, 2 mean(|x|) / sqrt(hi); 1 for a tensor of zeros.
/// Throws NumericError when x is not finite, ArgumentError when it is empty or hi is not positive.
[[nodiscard]] inline float learned_scale_start(MatrixView<const float> x,
                                               const FakeQuantizeOptions& options) {
  if (x.empty() || options.hi <= 0)
    throw ArgumentError("a first scale needs values and a positive largest code");
  require_finite(x, "x");
  double sum = 0.0;
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < x.cols(); ++j) sum += std::fabs(static_cast<double>(x(i, j)));
  if (sum == 0.0) return 1.0f;
  const double mean = sum / static_cast<double>(x.size());
  return static_cast<float>(2.0 * mean / std::sqrt(static_cast<double>(options.hi)));
}

}  // namespace pare
