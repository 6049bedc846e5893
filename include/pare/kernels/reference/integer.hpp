#pragma once

#include <cmath>

#include "pare/kernels/contract/integer.hpp"

/// Scalar integer matmul: always compiled, the model the others are read against.
namespace pare::kernels::reference {

/// The operand of the dot product at the unit's k-th input channel.
template <class Codes>
[[nodiscard]] inline int operand(const PackedPanel& w, const std::uint32_t* unit, Index k,
                                 Index lane) noexcept {
  const unsigned code = load_code<Codes>(unit, k, lane);
  return Codes::lookup ? w.operands[code] : static_cast<int>(code);
}

/// One token.
template <class Codes>
void few(const PackedPanel* panel, const Segment* segments, Index segment_count,
         const IntegerTokens& x, const IntegerResult& result) noexcept {
  const PackedPanel& w = *panel;
  for (Index lane = 0; lane < panel_channels; ++lane) {
    float sum = result.start[lane];
    for (Index s = 0; s < segment_count; ++s) {
      const Segment& segment = segments[s];
      std::int32_t dot = x.offsets[s];
      if (w.zero_points) dot *= w.zero_points[segment.weight_group * panel_channels + lane];
      for (Index k = 0; k < segment.units * Codes::unit; ++k) {
        const std::uint32_t* unit =
            w.codes + (segment.first_unit + k / Codes::unit) * Codes::unit_words;
        dot += operand<Codes>(w, unit, k % Codes::unit, lane) *
               x.codes[segment.first_unit * Codes::unit + k];
      }
      float value = static_cast<float>(dot);
      if (x.segment_scales) value *= x.segment_scales[s];
      sum = std::fma(value, load_scale(w, segment.weight_group, lane), sum);
    }
    float value = std::fma(sum, x.scales[0], result.bias[lane]);
    if (result.accumulate) value += result.y[lane];
    result.y[lane] = value;
  }
}

inline void sum_quads(const std::int8_t* codes, Index quads, Index tokens,
                      std::int32_t* sums) noexcept {
  for (Index t = 0; t < tokens; ++t) sums[t] = 0;
  for (Index i = 0; i < quads * tokens * 4; ++i) sums[i / 4 % tokens] += codes[i];
}

template <class Codes>
inline constexpr IntegerKernel integer_kernel{
    KernelName::reference, &sum_quads, {{nullptr, &few<Codes>}}, {}, {}, nullptr};

}  // namespace pare::kernels::reference
