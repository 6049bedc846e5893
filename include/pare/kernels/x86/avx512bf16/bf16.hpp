#pragma once

#include <array>

#include "pare/core/float16.hpp"
#include "pare/kernels/x86/avx512/codes.hpp"
#include "pare/kernels/x86/avx512bf16/bf16_tiles.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Packed codes of up to 4 bits to bf16: in registers for few tokens, into memory for many. A
/// permutation of 16-bit words looks up two codes of each channel.
namespace pare::kernels::avx512bf16 {

/// Values of code - zero_point as an index of five bits: 0 .. 15, -16 .. -1.
[[nodiscard]] constexpr std::array<std::uint16_t, 32> make_differences() noexcept {
  std::array<std::uint16_t, 32> values{};
  for (int i = 0; i < 32; ++i)
    values[static_cast<std::size_t>(i)] = BFloat16(static_cast<float>(i < 16 ? i : i - 32)).bits;
  return values;
}
alignas(64) inline constexpr std::array<std::uint16_t, 32> differences = make_differences();

/// Turns codes into values without scale.
template <class Codes>
struct Values {
  __m512i table;

  PARE_TARGET_AVX512BF16 PARE_FORCE_INLINE static Values of(const PackedPanel& w) noexcept {
    if constexpr (!Codes::lookup) return {_mm512_load_si512(differences.data())};
    const __m512i upper = _mm512_maskz_srli_epi32(avx512::all, _mm512_loadu_si512(w.values), 16);
    return {_mm512_maskz_broadcast_i64x4(0xff, _mm512_maskz_cvtepi32_epi16(avx512::all, upper))};
  }

  /// The zero point, or center, of each channel in all bytes.
  PARE_TARGET_AVX512BF16 PARE_FORCE_INLINE static __m512i zero(const PackedPanel& w,
                                                               Index group) noexcept {
    if constexpr (Codes::lookup) return _mm512_setzero_si512();
    const __m512i zero =
        w.zero_points ? avx512::load_zero_points(w, group) : _mm512_set1_epi32(w.center);
    return _mm512_mullo_epi32(zero, _mm512_set1_epi32(0x01010101));
  }

  /// Pairs k = 0, 2 and k = 1, 3 of a quad. The permutation reads five bits of an index.
  PARE_TARGET_AVX512BF16 PARE_FORCE_INLINE void pairs(const std::uint32_t* unit, int quad,
                                                      __m512i zero,
                                                      __m512i (&out)[2]) const noexcept {
    __m512i codes = avx512::quad_codes<Codes>(unit, quad);
    if constexpr (!Codes::lookup) codes = _mm512_sub_epi8(codes, zero);
    out[0] = _mm512_permutexvar_epi16(codes, table);
    out[1] = _mm512_permutexvar_epi16(_mm512_srli_epi16(codes, 8), table);
  }
};

template <class Codes, int Tokens>
PARE_TARGET_AVX512BF16 void few(const PackedPanel& w, const float* x, const float*,
                                const FloatResult& result) noexcept {
  // Independent sums cover the latency of the dot product.
  constexpr int chains = Tokens == 1 ? 4 : 2;
  const Values<Codes> value_of = Values<Codes>::of(w);
  __m512 scaled[Tokens];
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) scaled[t] = _mm512_setzero_ps();
  const std::uint32_t* unit = w.codes;
  for (Index g = 0; g < w.groups(); ++g) {
    const __m512i zero = Values<Codes>::zero(w, g);
    __m512 sums[Tokens][chains];
    PARE_UNROLL
    for (int i = 0; i < Tokens * chains; ++i) sums[i / chains][i % chains] = _mm512_setzero_ps();
    for (Index u = w.units_of(g); u > 0; --u, unit += Codes::unit_words) {
      prefetch_unit<Codes>(unit);
      PARE_UNROLL
      for (int quad = 0; quad < static_cast<int>(Codes::unit) / 4; ++quad) {
        __m512i values[2];
        value_of.pairs(unit, quad, zero, values);
        PARE_UNROLL
        for (int pair = 0; pair < 2; ++pair, x += Tokens) {
          const int chain = (2 * quad + pair) % chains;
          PARE_UNROLL
          for (int t = 0; t < Tokens; ++t)
            sums[t][chain] = dot(sums[t][chain], values[pair], broadcast_pair(x + t));
        }
      }
    }
    const __m512 scale = avx512::load_scales(w, g);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      __m512 sum = sums[t][0];
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sum = _mm512_add_ps(sum, sums[t][c]);
      scaled[t] = _mm512_fmadd_ps(sum, scale, scaled[t]);
    }
  }
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t)
    avx512::store_sum(scaled[t], 0, result.y + t * result.y_stride, result);
}

template <class Codes>
PARE_TARGET_AVX512BF16 void decode(const PackedPanel& w, Index first_unit, Index units,
                                   std::uint32_t* values, float* scales) noexcept {
  const Values<Codes> value_of = Values<Codes>::of(w);
  const std::uint32_t* unit = w.codes + first_unit * Codes::unit_words;
  for (Index u = first_unit; u < first_unit + units; scales += 2 * panel_channels) {
    const Index group = u / w.group_units, group_end = (group + 1) * w.group_units;
    const Index end = group_end < first_unit + units ? group_end : first_unit + units;
    const __m512i zero = Values<Codes>::zero(w, group);
    _mm512_storeu_ps(scales, avx512::load_scales(w, group));
    for (; u < end; ++u, unit += Codes::unit_words) {
      PARE_UNROLL
      for (int quad = 0; quad < static_cast<int>(Codes::unit) / 4; ++quad) {
        __m512i pairs[2];
        value_of.pairs(unit, quad, zero, pairs);
        PARE_UNROLL
        for (int pair = 0; pair < 2; ++pair, values += 2 * panel_channels)
          _mm512_storeu_si512(values, pairs[pair]);
      }
    }
  }
}

template <class Codes>
inline constexpr Bf16Kernel bf16_kernel{
    KernelName::avx512bf16,
    {{nullptr, &few<Codes, 1>, &few<Codes, 2>, &few<Codes, 3>, &few<Codes, 4>}},
    bf16_tiles,
    &decode<Codes>};

}  // namespace pare::kernels::avx512bf16
