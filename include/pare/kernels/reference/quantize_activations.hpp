#pragma once

#include <bit>

#include "pare/formats/rounding.hpp"
#include "pare/kernels/contract/quantize_activations.hpp"

namespace pare::kernels::reference {

/// Compares magnitudes as integers, so that infinity and NaN are the largest.
inline float absmax(const float* x, Index count) noexcept {
  std::uint32_t largest = 0;
  for (Index i = 0; i < count; ++i) {
    const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu;
    largest = magnitude > largest ? magnitude : largest;
  }
  return std::bit_cast<float>(largest);
}

inline void quantize_row(const float* x, Index count, const ActivationParameters& p,
                         std::int8_t* codes) noexcept {
  for (Index i = 0; i < count; ++i)
    codes[i] = static_cast<std::int8_t>(
        round_to_code(quotient(x[i], p.scale), p.zero_point, p.lowest_code, 127));
}

inline std::int32_t sum(const std::int8_t* codes, Index count) noexcept {
  std::int32_t total = 0;
  for (Index i = 0; i < count; ++i) total += codes[i];
  return total;
}

inline void gather(const float* x, const std::int32_t* order, Index count, float* out) noexcept {
  for (Index i = 0; i < count; ++i) out[i] = x[order[i]];
}

inline constexpr ActivationKernel activation_kernel{&absmax, &quantize_row, &sum, &gather};

}  // namespace pare::kernels::reference
