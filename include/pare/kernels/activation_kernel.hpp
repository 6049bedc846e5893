#pragma once

#include <cstdint>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// Parameters of one row; codes are clipped to [lowest_code, 127].
struct ActivationParameters {
  float scale;
  std::int32_t zero_point;
  std::int32_t lowest_code;
};

/// What an implementation of quantize_activations supplies, on rows without gaps.
struct ActivationKernel {
  /// The largest magnitude; NaN or infinity when an element is one.
  float (*absmax)(const float* x, Index count) noexcept;
  void (*quantize)(const float* x, Index count, const ActivationParameters&,
                   std::int8_t* codes) noexcept;
};

}  // namespace pare::kernels
