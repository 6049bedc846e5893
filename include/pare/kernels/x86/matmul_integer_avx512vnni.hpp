#pragma once

#include <cstring>

#include "pare/kernels/matmul_kernels.hpp"
#include "pare/kernels/x86/avx512_panel.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// vpdpbusd down the lanes: four products of an unsigned weight and a signed activation code are
/// added to each channel, so there is no horizontal sum and no saturation.
namespace pare::kernels::avx512vnni {

PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE __m512i dot(__m512i sum, __m512i weights,
                                                     __m512i activations) noexcept {
#if PARE_GCC
  // g++ 12 copies and spills accumulators around the intrinsic; a tied operand stops it.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(activations));
  return sum;
#else
  return _mm512_dpbusd_epi32(sum, weights, activations);
#endif
}

PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE __m512i broadcast4(const std::int8_t* codes) noexcept {
  std::int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return _mm512_set1_epi32(four);
}

/// Adds the eight k of a unit: k = 0..3 to chain `Low`, k = 4..7 to chain `High`.
template <int Bits, int Tokens, int Low, int High, int Chains>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void add_unit(const std::uint32_t* unit,
                                                       const std::int8_t* x,
                                                       __m512i (&sums)[Tokens][Chains]) noexcept {
  if constexpr (Tokens <= 3) prefetch_unit<PackedCodes<Bits, false>>(unit);
  __m512i low = _mm512_loadu_si512(unit), high;
  if constexpr (Bits == 8) {
    high = _mm512_loadu_si512(unit + panel_channels);
  } else {
    const __m512i nibble = _mm512_set1_epi8(15);
    high = _mm512_and_si512(_mm512_srli_epi16(low, 4), nibble);
    low = _mm512_and_si512(low, nibble);
  }
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) sums[t][Low] = dot(sums[t][Low], low, broadcast4(x + 4 * t));
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t)
    sums[t][High] = dot(sums[t][High], high, broadcast4(x + 4 * (Tokens + t)));
}

template <int Bits, int Tokens>
PARE_TARGET_AVX512VNNI void integer_tile(const PackedPanel& w, const IntegerTokens& x, float* y,
                                         Index y_stride) noexcept {
  using Codes = PackedCodes<Bits, false>;
  // Independent sums cover the latency of the dot product where tokens alone do not.
  constexpr int chains = Tokens == 1 ? 4 : Tokens <= 3 ? 2 : 1;
  constexpr Index unit_codes = Codes::unit * Tokens;

  __m512 result[Tokens];
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) result[t] = _mm512_setzero_ps();
  const std::uint32_t* unit = w.codes;
  const std::int8_t* codes = x.codes;
  const std::int32_t* offsets = x.offsets;
  for (Index g = 0; g < w.groups(); ++g, offsets += Tokens) {
    __m512i sums[Tokens][chains];
    const __m512i zero = w.zero_points ? avx512::load_zero_points(w, g) : _mm512_setzero_si512();
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      sums[t][0] = _mm512_set1_epi32(offsets[t]);
      if (w.zero_points) sums[t][0] = _mm512_mullo_epi32(sums[t][0], zero);
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sums[t][c] = _mm512_setzero_si512();
    }
    Index units = w.units_of(g);
    if constexpr (chains == 4)
      for (; units >= 2; units -= 2, unit += 2 * Codes::unit_words, codes += 2 * unit_codes) {
        add_unit<Bits, Tokens, 0, 1>(unit, codes, sums);
        add_unit<Bits, Tokens, 2, 3>(unit + Codes::unit_words, codes + unit_codes, sums);
      }
    for (; units > 0; --units, unit += Codes::unit_words, codes += unit_codes)
      add_unit<Bits, Tokens, 0, chains == 1 ? 0 : 1>(unit, codes, sums);

    const __m512 scale = avx512::load_scales(w, g);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      __m512i sum = sums[t][0];
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sum = _mm512_add_epi32(sum, sums[t][c]);
      result[t] = _mm512_fmadd_ps(_mm512_maskz_cvtepi32_ps(avx512::all, sum), scale, result[t]);
    }
  }
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t)
    _mm512_storeu_ps(y + t * y_stride, _mm512_mul_ps(result[t], _mm512_set1_ps(x.scales[t])));
}

template <int Bits>
inline constexpr IntegerKernel integer_kernel{
    KernelName::avx512vnni,
    {{nullptr, &integer_tile<Bits, 1>, &integer_tile<Bits, 2>, &integer_tile<Bits, 3>,
      &integer_tile<Bits, 4>, nullptr, &integer_tile<Bits, 6>, nullptr, &integer_tile<Bits, 8>,
      nullptr, nullptr, nullptr, &integer_tile<Bits, 12>}}};

}  // namespace pare::kernels::avx512vnni
