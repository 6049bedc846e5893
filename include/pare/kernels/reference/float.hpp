#pragma once

#include "pare/kernels/contract/float.hpp"

/// Scalar float matmul: always compiled, the model the others are read against.
namespace pare::kernels::reference {

template <class Codes>
void decode(const PackedPanel& w, Index first_unit, Index units, float* values) noexcept {
  for (Index u = first_unit; u < first_unit + units; ++u) {
    const Index group = u / w.group_units;
    for (Index lane = 0; lane < panel_channels; ++lane) {
      const float scale = load_scale(w, group, lane);
      const int zero = w.zero_points ? w.zero_points[group * panel_channels + lane] - w.center : 0;
      for (Index k = 0; k < Codes::unit; ++k) {
        const unsigned code = load_code<Codes>(w.codes + u * Codes::unit_words, k, lane);
        values[((u - first_unit) * Codes::unit + k) * 2 * panel_channels + lane] =
            scale * (w.values[code] - static_cast<float>(zero));
      }
    }
  }
}

inline void float_tile(const float* x, const float* values, Index k_count,
                       const FloatResult& result) noexcept {
  for (Index lane = 0; lane < 2 * panel_channels; ++lane) {
    float sum = 0.0f;
    for (Index k = 0; k < k_count; ++k) sum += x[k] * values[k * 2 * panel_channels + lane];
    if (result.bias) sum += result.bias[lane];
    const bool add = !result.bias || result.accumulate;
    result.y[lane] = add ? result.y[lane] + sum : sum;
  }
}

template <class Codes>
inline constexpr FloatKernel float_kernel{
    KernelName::reference, {}, {{nullptr, &float_tile}}, &decode<Codes>};

}  // namespace pare::kernels::reference
