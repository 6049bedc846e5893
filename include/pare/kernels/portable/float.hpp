#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/float.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/portable/simd.hpp"

/// Float matmul for whatever instruction set the consumer compiles for: decoding is a loop over 16
/// lanes that compilers vectorize, tiles hold registers themselves.
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
        zero[lane] = static_cast<float>(w.zero_points[group * panel_channels + lane] - w.center);
    }
    const std::uint32_t* unit = w.codes + u * Codes::unit_words;
    for (Index k = 0; k < Codes::unit; ++k, values += 2 * panel_channels)
      for (Index lane = 0; lane < panel_channels; ++lane) {
        const unsigned code = load_code<Codes>(unit, k, lane);
        const float value =
            Codes::lookup ? w.values[code] : static_cast<float>(static_cast<int>(code) - w.center);
        values[lane] = scale[lane] * (value - zero[lane]);
      }
  }
}

template <int Tokens>
void float_tile(const float* x, const float* values, Index k_count,
                const FloatResult& result) noexcept {
  assert_float_tile(x, values, result, Tokens, 2 * panel_channels);
  constexpr Index width = static_cast<Index>(Pack<float>::size);
  for (Index lane = 0; lane < 2 * panel_channels; lane += 2 * width) {
    Pack<float> sums[Tokens][2];
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) sums[t][0] = sums[t][1] = Pack<float>(0.0f);
    for (Index k = 0; k < k_count; ++k) {
      const float* w = values + k * 2 * panel_channels + lane;
      const Pack<float> w0 = Pack<float>::load_unaligned(w);
      const Pack<float> w1 = Pack<float>::load_unaligned(w + width);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        const Pack<float> broadcast(x[k * Tokens + t]);
        sums[t][0] = multiply_add(broadcast, w0, sums[t][0]);
        sums[t][1] = multiply_add(broadcast, w1, sums[t][1]);
      }
    }
    for (int i = 0; i < 2 * Tokens; ++i) {
      const Index channel = lane + i % 2 * width;
      float* y = result.y + i / 2 * result.y_stride + channel;
      Pack<float> sum = sums[i / 2][i % 2];
      if (result.bias) sum = sum + Pack<float>::load_unaligned(result.bias + channel);
      if (!result.bias || result.accumulate) sum = sum + Pack<float>::load_unaligned(y);
      sum.store_unaligned(y);
    }
  }
}

/// 12 sums leave registers to spare where there are only 16.
inline constexpr TileTable<FloatKernel::Tile> float_tiles{{nullptr, &float_tile<1>, &float_tile<2>,
                                                           &float_tile<3>, &float_tile<4>,
                                                           &float_tile<5>, &float_tile<6>}};

template <class Codes>
inline constexpr FloatKernel float_kernel{KernelName::portable, {}, float_tiles, &decode<Codes>};

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
