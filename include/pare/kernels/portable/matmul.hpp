#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/matmul_kernels.hpp"
#include "pare/kernels/portable/simd.hpp"

/// Matmul kernels for whatever instruction set the consumer compiles for: decoding and integer
/// sums are loops over 16 lanes that compilers vectorize, the float tile holds registers itself.
namespace pare::kernels::portable {
inline namespace PARE_PORTABLE_NAMESPACE {

template <class Codes>
void decode(const PackedPanel& w, Index first_unit, Index units, float* values) noexcept {
  for (Index u = first_unit; u < first_unit + units; ++u) {
    const Index group = u / w.group_units;
    float scale[panel_channels], zero[panel_channels];
    for (Index lane = 0; lane < panel_channels; ++lane) {
      scale[lane] = load_scale(w, group, lane);
      zero[lane] = 0.0f;
      if (w.zero_points)
        zero[lane] =
            static_cast<float>(w.zero_points[group * panel_channels + lane] - Codes::center);
    }
    const std::uint32_t* unit = w.codes + u * Codes::unit_words;
    for (int k = 0; k < Codes::unit; ++k, values += panel_channels)
      for (Index lane = 0; lane < panel_channels; ++lane) {
        const unsigned code = load_code<Codes>(unit, k, lane);
        const float value = Codes::lookup
                                ? w.values[code]
                                : static_cast<float>(static_cast<int>(code) - Codes::center);
        values[lane] = scale[lane] * (value - zero[lane]);
      }
  }
}

template <int Tokens>
void float_tile(const float* x, const float* values, Index k_count, float* y,
                Index y_stride) noexcept {
  constexpr Index width = static_cast<Index>(Pack<float>::size);
  static_assert(panel_channels % width == 0);
  for (Index lane = 0; lane < panel_channels; lane += width) {
    Pack<float> sums[Tokens];
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) sums[t] = Pack<float>(0.0f);
    for (Index k = 0; k < k_count; ++k) {
      const Pack<float> w = Pack<float>::load_unaligned(values + k * panel_channels + lane);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t)
        sums[t] = multiply_add(Pack<float>(x[k * Tokens + t]), w, sums[t]);
    }
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      float* out = y + t * y_stride + lane;
      (Pack<float>::load_unaligned(out) + sums[t]).store_unaligned(out);
    }
  }
}

template <class Codes>
inline constexpr FloatKernel float_kernel{
    KernelName::portable,
    nullptr,
    &decode<Codes>,
    {{nullptr, &float_tile<1>, &float_tile<2>, nullptr, &float_tile<4>, nullptr, nullptr, nullptr,
      &float_tile<8>}}};

template <int Bits>
void integer_tile(const PackedPanel& w, const IntegerTokens& x, float* y, Index) noexcept {
  using Codes = PackedCodes<Bits, false>;
  float sums[panel_channels] = {};
  const std::uint32_t* unit = w.codes;
  const std::int8_t* a = x.codes;
  for (Index g = 0; g < w.groups(); ++g) {
    std::int32_t dots[panel_channels];
    for (Index lane = 0; lane < panel_channels; ++lane)
      dots[lane] = x.offsets[g] * (w.zero_points ? w.zero_points[g * panel_channels + lane] : 1);
    for (Index u = 0; u < w.units_of(g); ++u, unit += Codes::unit_words, a += Codes::unit)
      for (int k = 0; k < Codes::unit; ++k)
        for (Index lane = 0; lane < panel_channels; ++lane)
          dots[lane] += static_cast<std::int32_t>(load_code<Codes>(unit, k, lane)) * a[k];
    for (Index lane = 0; lane < panel_channels; ++lane)
      sums[lane] += static_cast<float>(dots[lane]) * load_scale(w, g, lane);
  }
  for (Index lane = 0; lane < panel_channels; ++lane) y[lane] = sums[lane] * x.scales[0];
}

template <int Bits>
inline constexpr IntegerKernel integer_kernel{KernelName::portable,
                                              {{nullptr, &integer_tile<Bits>}}};

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
