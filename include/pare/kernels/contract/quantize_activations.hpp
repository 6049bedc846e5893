#pragma once

#include <cstdint>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// Parameters of values that share a scale; codes are clipped to [lowest_code, 127].
struct ActivationParameters {
  float scale;
  std::int32_t zero_point = 0;
  std::int32_t lowest_code = -127;
  /// There is nothing to clip: zero_point is 0, and the scale at least absmax / 127 rounded.
  bool covers = false;
};

/// What an implementation of quantize_activations supplies, on memory without gaps. All of them
/// give the same bits.
struct ActivationKernel {
  /// The largest magnitude; NaN or infinity when an element is one.
  float (*absmax)(const float* x, Index count) noexcept;
  /// codes[i] = clip(round_half_even(x[i] / scale) + zero_point, lowest_code, 127), x finite.
  void (*quantize)(const float* x, Index count, const ActivationParameters&,
                   std::int8_t* codes) noexcept;
  /// Exact for up to 2^24 codes.
  std::int32_t (*sum)(const std::int8_t* codes, Index count) noexcept;
  /// out[i] = x[order[i]]
  void (*gather)(const float* x, const std::int32_t* order, Index count, float* out) noexcept;
};

}  // namespace pare::kernels
