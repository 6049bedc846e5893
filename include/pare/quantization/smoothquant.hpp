#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// Per-channel scales that move part of the activations' range into the weights.
///
///     s_c = max(A_c^alpha / W_c^(1 - alpha), 1e-5),  W_c = max(1e-5, max |W[:, c]|)
///
/// Apply them with fold_into_columns on the consumers and fold_into_vector on the norm before.
///
/// Shapes    act_absmax A (in_features): largest |x_c| seen; consumers (any rows, in_features),
///           all the layers that read the same x
/// Values    alpha in [0, 1]: 0 moves nothing into the weights, 1 everything
/// Errors    ShapeError, ArgumentError for alpha, NumericError for values that are not finite
/// Edge      a channel that was always zero (A_c = 0) gets scale 1
/// Source    Xiao et al., "SmoothQuant", 2023, Eq. 4. Departs: the authors' code gives a dead
///           channel 1e-5, which turns any later nonzero input into an outlier.
[[nodiscard]] inline Vector<float> smoothquant_scales(
    VectorView<const float> act_absmax, std::span<const MatrixView<const float>> consumers,
    float alpha = 0.5f) {
  constexpr float smallest = 1e-5f;
  if (!(alpha >= 0.0f && alpha <= 1.0f))
    throw ArgumentError("alpha " + std::to_string(alpha) + " is outside [0, 1]");
  if (consumers.empty()) throw ArgumentError("smoothing needs a layer that consumes the input");
  const Index channels = act_absmax.size();
  for (Index c = 0; c < channels; ++c)
    if (!(act_absmax[c] >= 0.0f) || !is_finite(act_absmax[c]))
      throw NumericError("the largest activation of channel " + std::to_string(c) + " is " +
                         std::to_string(act_absmax[c]));

  Vector<float> weight_absmax({channels});
  weight_absmax.fill(smallest);
  for (const MatrixView<const float>& w : consumers) {
    if (w.cols() != channels)
      throw ShapeError("a consumer of shape " + to_string(w.shape()) + " reads " +
                       std::to_string(channels) + " channels");
    require_finite(w, "weight");
    for (Index i = 0; i < w.rows(); ++i)
      for (Index c = 0; c < channels; ++c)
        weight_absmax[c] = std::max(weight_absmax[c], std::fabs(w(i, c)));
  }

  Vector<float> scales({channels});
  for (Index c = 0; c < channels; ++c)
    scales[c] =
        act_absmax[c] == 0.0f
            ? 1.0f
            : std::max(std::pow(act_absmax[c], alpha) / std::pow(weight_absmax[c], 1.0f - alpha),
                       smallest);
  return scales;
}

/// The same for one consumer.
[[nodiscard]] inline Vector<float> smoothquant_scales(VectorView<const float> act_absmax,
                                                      MatrixView<const float> consumer,
                                                      float alpha = 0.5f) {
  return smoothquant_scales(act_absmax, std::span<const MatrixView<const float>>(&consumer, 1),
                            alpha);
}

}  // namespace pare
