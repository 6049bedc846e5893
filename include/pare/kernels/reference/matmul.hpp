#pragma once

#include "pare/kernels/matmul_kernels.hpp"

/// Scalar matmul kernels: always compiled, the model the others are read against.
namespace pare::kernels::reference {

template <class Codes>
void decode(const PackedPanel& w, Index first_unit, Index units, float* values) noexcept {
  for (Index u = first_unit; u < first_unit + units; ++u) {
    const Index group = u / w.group_units;
    for (Index lane = 0; lane < panel_channels; ++lane) {
      const float scale = load_scale(w, group, lane);
      const int zero =
          w.zero_points ? w.zero_points[group * panel_channels + lane] - Codes::center : 0;
      for (int k = 0; k < Codes::unit; ++k) {
        const unsigned code = load_code<Codes>(w.codes + u * Codes::unit_words, k, lane);
        values[((u - first_unit) * Codes::unit + k) * panel_channels + lane] =
            scale * (w.values[code] - static_cast<float>(zero));
      }
    }
  }
}

inline void float_tile(const float* x, const float* values, Index k_count, float* y,
                       Index) noexcept {
  for (Index lane = 0; lane < panel_channels; ++lane) {
    float sum = 0.0f;
    for (Index k = 0; k < k_count; ++k) sum += x[k] * values[k * panel_channels + lane];
    y[lane] += sum;
  }
}

template <class Codes>
inline constexpr FloatKernel float_kernel{
    KernelName::reference, nullptr, &decode<Codes>, {{nullptr, &float_tile}}};

template <int Bits>
void integer_tile(const PackedPanel& w, const IntegerTokens& x, float* y, Index) noexcept {
  using Codes = PackedCodes<Bits, false>;
  for (Index lane = 0; lane < panel_channels; ++lane) {
    float sum = 0.0f;
    for (Index g = 0; g < w.groups(); ++g) {
      std::int32_t dot =
          x.offsets[g] * (w.zero_points ? w.zero_points[g * panel_channels + lane] : 1);
      for (Index k = 0; k < w.units_of(g) * Codes::unit; ++k) {
        const Index unit = g * w.group_units + k / Codes::unit;
        const unsigned code = load_code<Codes>(w.codes + unit * Codes::unit_words,
                                               static_cast<int>(k % Codes::unit), lane);
        dot += static_cast<int>(code) * x.codes[g * w.group_units * Codes::unit + k];
      }
      sum += static_cast<float>(dot) * load_scale(w, g, lane);
    }
    y[lane] = sum * x.scales[0];
  }
}

template <int Bits>
inline constexpr IntegerKernel integer_kernel{KernelName::reference,
                                              {{nullptr, &integer_tile<Bits>}}};

}  // namespace pare::kernels::reference
