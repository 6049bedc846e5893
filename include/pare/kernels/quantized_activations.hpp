#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include "pare/core/config.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/scale.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/reference/quantize_activations.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/quantize_activations.hpp"
#endif

namespace pare {

/// Activations as int8 codes.
///
///     x(token, column) = scales[token] * (codes(token, column) - zero_point)
struct QuantizedActivations {
  Matrix<std::int8_t> codes;  ///< (tokens, in_features)
  Vector<float> scales;       ///< (tokens)
  std::int32_t zero_point = 0;

  [[nodiscard]] Index tokens() const noexcept { return codes.rows(); }
  [[nodiscard]] Index cols() const noexcept { return codes.cols(); }
};

/// Calibrated parameters of all tokens. Without a scale each token gets its own.
struct ActivationOptions {
  std::optional<float> scale{};
  /// In [-128, 127]; needs a scale.
  std::int32_t zero_point = 0;
};

namespace kernels {

[[nodiscard]] inline const ActivationKernel& activation_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::activation_kernel;
    case KernelName::avx2:
      return avx2::activation_kernel;
    default:
      return reference::activation_kernel;
  }
#else
  (void)select_kernel(force, {KernelName::portable, KernelName::reference});
  return reference::activation_kernel;
#endif
}

}  // namespace kernels

/// Quantizes activations to 8 bits, each token by itself or with given parameters.
///
///     code = clip(round_half_even(x / scale) + zero_point, lo, hi)
///
/// Shapes    x (tokens, in_features), any strides
/// Values    dynamic: scale = absmax / 127 of the token, zero_point 0, codes in [-127, 127];
///           static: codes in [-127, 127] without, [-128, 127] with a zero point
/// Errors    NumericError naming the element that is not finite; ArgumentError for a scale that is
///           not a positive number, a zero point outside int8 or without a scale
/// Edge      a token of zeros gets scale 1
/// Order     bit-identical for all kernels and thread counts
[[nodiscard]] inline QuantizedActivations quantize_activations(
    MatrixView<const float> x, const ActivationOptions& options = {},
    const Execution& execution = {}) {
  if (options.scale && !is_usable_scale(*options.scale))
    throw ArgumentError("activation scale " + std::to_string(*options.scale) +
                        " is not a positive number");
  if (options.zero_point < -128 || options.zero_point > 127)
    throw ArgumentError("activation zero point " + std::to_string(options.zero_point) +
                        " is outside [-128, 127]");
  if (options.zero_point != 0 && !options.scale)
    throw ArgumentError("an activation zero point needs a scale");

  const kernels::ActivationKernel& kernel = kernels::activation_kernel(execution.force);
  QuantizedActivations q{Matrix<std::int8_t>({x.rows(), x.cols()}), Vector<float>({x.rows()}),
                         options.zero_point};
  const std::int32_t lowest = options.zero_point == 0 ? -127 : -128;
  execution.parallel_for(x.rows(), [&](Index token) {
    Vector<float> copied;
    const float* row = x.data() + token * x.stride(0);
    if (x.stride(1) != 1) {
      copied = Vector<float>(x.row(token));
      row = copied.data();
    }
    const float absmax = kernel.absmax(row, x.cols());
    if (!all_finite(&absmax, 1)) require_finite(x, "activation");
    q.scales[token] = options.scale.value_or(detail::fit_scale(absmax, 127.0f, ScaleType::f32));
    kernel.quantize(row, x.cols(), {q.scales[token], options.zero_point, lowest},
                    q.codes.data() + token * x.cols());
  });
  return q;
}

/// The values that the codes stand for, (tokens, in_features).
[[nodiscard]] inline Matrix<float> dequantize(const QuantizedActivations& q) {
  Matrix<float> values({q.tokens(), q.cols()});
  for (Index t = 0; t < q.tokens(); ++t)
    for (Index j = 0; j < q.cols(); ++j)
      values(t, j) = q.scales[t] * static_cast<float>(q.codes(t, j) - q.zero_point);
  return values;
}

}  // namespace pare
