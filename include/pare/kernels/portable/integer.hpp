#pragma once

#include <algorithm>
#include <cstring>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/contract/tile_assertions.hpp"
#include "pare/kernels/contract/tile_run.hpp"
#include "pare/kernels/portable/simd.hpp"

/// Integer matmul for whatever instruction set the consumer compiles for: sums of 16-bit products
/// in loops over 16 lanes, which compilers vectorize.
namespace pare::kernels::portable {
inline namespace PARE_PORTABLE_NAMESPACE {

/// The operand of a product at the unit's k-th input channel.
template <class Codes>
[[nodiscard]] PARE_FORCE_INLINE int operand(const PackedPanel& w, const std::uint32_t* unit,
                                            Index k, Index lane) noexcept {
  const unsigned code = load_code<Codes>(unit, k, lane);
  return Codes::lookup ? w.operands[code] : static_cast<int>(code);
}

/// sums += 16 values * scales, rounded once where there is such an instruction.
PARE_FORCE_INLINE void add_scaled(const std::int32_t* dots, float factor, const float* scales,
                                  float* sums) noexcept {
  constexpr Index width = static_cast<Index>(Pack<float>::size);
  float values[panel_channels];
  for (Index lane = 0; lane < panel_channels; ++lane)
    values[lane] = static_cast<float>(dots[lane]) * factor;
  for (Index lane = 0; lane < panel_channels; lane += width)
    multiply_add(Pack<float>::load_unaligned(values + lane),
                 Pack<float>::load_unaligned(scales + lane),
                 Pack<float>::load_unaligned(sums + lane))
        .store_unaligned(sums + lane);
}

PARE_FORCE_INLINE void store_result(const float* sums, float scale, const IntegerResult& result,
                                    float* y) noexcept {
  constexpr Index width = static_cast<Index>(Pack<float>::size);
  for (Index lane = 0; lane < panel_channels; lane += width) {
    Pack<float> value = multiply_add(Pack<float>::load_unaligned(sums + lane), Pack<float>(scale),
                                     Pack<float>::load_unaligned(result.bias + lane));
    if (result.accumulate) value = value + Pack<float>::load_unaligned(y + lane);
    value.store_unaligned(y + lane);
  }
}

/// One token.
template <class Codes>
void few(const PackedPanel* panel, const Segment* segments, Index segment_count,
         const IntegerTokens& x, const IntegerResult& result) noexcept {
  const PackedPanel& w = *panel;
  constexpr Index in_four[4] = {0, 2, 1, 3};
  const auto* codes = reinterpret_cast<const std::int16_t*>(x.codes);
  const std::uint32_t* unit = w.codes;
  float sums[panel_channels];
  for (Index lane = 0; lane < panel_channels; ++lane) sums[lane] = result.start[lane];
  for (Index s = 0; s < segment_count; ++s) {
    const Index group = segments[s].weight_group;
    std::int32_t dots[panel_channels];
    float scales[panel_channels];
    for (Index lane = 0; lane < panel_channels; ++lane) {
      dots[lane] =
          x.offsets[s] * (w.zero_points ? w.zero_points[group * panel_channels + lane] : 1);
      scales[lane] = load_scale(w, group, lane);
    }
    for (Index u = 0; u < segments[s].units; ++u, unit += Codes::unit_words, codes += Codes::unit)
      for (Index k = 0; k < Codes::unit; ++k) {
        const int code = codes[k / 4 * 4 + in_four[k % 4]];
        for (Index lane = 0; lane < panel_channels; ++lane)
          dots[lane] += operand<Codes>(w, unit, k, lane) * code;
      }
    add_scaled(dots, x.segment_scales ? x.segment_scales[s] : 1.0f, scales, sums);
  }
  store_result(sums, x.scales[0], result, result.y);
}

/// The products of some four k of one panel.
template <int Tokens>
void add_quads(const std::int16_t*& weights, const std::int16_t*& codes, Index quads,
               std::int32_t (&sums)[Tokens][panel_channels]) noexcept {
  for (Index pair = 0; pair < 2 * quads; ++pair, weights += 2 * panel_channels) {
    const std::int16_t* x = codes + pair / 2 * 4 * Tokens + pair % 2 * 2;
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t)
      for (Index lane = 0; lane < panel_channels; ++lane)
        sums[t][lane] += weights[2 * lane] * x[4 * t] + weights[2 * lane + 1] * x[4 * t + 1];
  }
  codes += 4 * quads * Tokens;
}

template <int Tokens>
void row_tile(const IntegerWeights& w, const IntegerTokens& x,
              const IntegerResult& result) noexcept {
  assert_row_tile(w, x, result, Tokens, panel_channels);
  const auto* weights = reinterpret_cast<const std::int16_t*>(w.codes);
  const auto* codes = reinterpret_cast<const std::int16_t*>(x.codes);
  std::int32_t sums[Tokens][panel_channels];
  std::memset(sums, 0, sizeof(sums));
  if (!result.first) std::memcpy(sums, result.partial, sizeof(sums));
  add_quads(weights, codes, w.segments[0].units * w.unit_quads, sums);
  if (!result.last) {
    std::memcpy(result.partial, sums, sizeof(sums));
    return;
  }
  for (Index t = 0; t < Tokens; ++t) {
    float scaled[panel_channels];
    for (Index lane = 0; lane < panel_channels; ++lane) scaled[lane] = result.start[lane];
    add_scaled(sums[t], 1.0f, w.scales, scaled);
    store_result(scaled, x.scales[t], result, result.y + t * result.y_stride);
  }
}

template <int Tokens>
void group_tile(const IntegerWeights& w, const IntegerTokens& x,
                const IntegerResult& result) noexcept {
  assert_group_tile(w, x, result, Tokens, panel_channels);
  const auto* weights = reinterpret_cast<const std::int16_t*>(w.codes);
  const auto* codes = reinterpret_cast<const std::int16_t*>(x.codes);
  if (result.first)
    for (Index t = 0; t < Tokens; ++t)
      for (Index lane = 0; lane < panel_channels; ++lane)
        result.partial[t * panel_channels + lane] = result.start[lane];
  for (Index s = 0; s < w.segment_count; ++s) {
    std::int32_t sums[Tokens][panel_channels] = {};
    add_quads(weights, codes, w.segments[s].units * w.unit_quads, sums);
    for (Index t = 0; t < Tokens; ++t)
      add_scaled(sums[t], x.segment_scales ? x.segment_scales[s * Tokens + t] : 1.0f,
                 w.scales + s * panel_channels, result.partial + t * panel_channels);
  }
  if (!result.last) return;
  for (Index t = 0; t < Tokens; ++t)
    store_result(result.partial + t * panel_channels, x.scales[t], result,
                 result.y + t * result.y_stride);
}

template <class Codes>
void decode_words(const PackedPanel& w, const Segment* segments, Index segment_count,
                  std::uint8_t* codes, float* scales, std::int32_t*) noexcept {
  auto* out = reinterpret_cast<std::int16_t*>(codes);
  for (Index s = 0; s < segment_count; ++s, scales += panel_channels) {
    const Index group = segments[s].weight_group;
    int origin[panel_channels];
    for (Index lane = 0; lane < panel_channels; ++lane) {
      scales[lane] = load_scale(w, group, lane);
      origin[lane] = w.zero_points   ? w.zero_points[group * panel_channels + lane]
                     : Codes::lookup ? 128
                                     : w.center;
    }
    const std::uint32_t* unit = w.codes + segments[s].first_unit * Codes::unit_words;
    for (Index u = 0; u < segments[s].units; ++u, unit += Codes::unit_words)
      for (Index pair = 0; pair < Codes::unit / 2; ++pair, out += 2 * panel_channels) {
        const Index k = pair / 2 * 4 + pair % 2;
        // Not written in place: compilers would fear that units change.
        std::int16_t words[2 * panel_channels];
        for (Index lane = 0; lane < panel_channels; ++lane) {
          words[2 * lane] =
              static_cast<std::int16_t>(operand<Codes>(w, unit, k, lane) - origin[lane]);
          words[2 * lane + 1] =
              static_cast<std::int16_t>(operand<Codes>(w, unit, k + 2, lane) - origin[lane]);
        }
        std::copy_n(words, 2 * panel_channels, out);
      }
  }
}

inline void sum_words(const std::int8_t* codes, Index quads, Index tokens,
                      std::int32_t* sums) noexcept {
  const auto* words = reinterpret_cast<const std::int16_t*>(codes);
  for (Index t = 0; t < tokens; ++t) {
    sums[t] = 0;
    for (Index q = 0; q < quads; ++q)
      for (Index i = 0; i < 4; ++i) sums[t] += words[(q * tokens + t) * 4 + i];
  }
}

template <class Codes>
inline constexpr IntegerKernel integer_kernel{
    KernelName::portable,
    &sum_words,
    {{nullptr, &few<Codes>}},
    {{nullptr, nullptr, &run_tiles<&row_tile<2>, 2>, &run_tiles<&row_tile<3>, 3>,
      &run_tiles<&row_tile<4>, 4>}},
    {{nullptr, nullptr, &run_tiles<&group_tile<2>, 2>, &run_tiles<&group_tile<3>, 3>,
      &run_tiles<&group_tile<4>, 4>}},
    &decode_words<Codes>,
    {Operand::s16, 1, false, false}};

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
