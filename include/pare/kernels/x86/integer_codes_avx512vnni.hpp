#pragma once

#include "pare/kernels/integer_kernel.hpp"
#include "pare/kernels/x86/avx512_codes.hpp"
#include "pare/kernels/x86/avx512vnni_dot.hpp"
#include "pare/kernels/x86/integer_tiles_avx512vnni.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Packed codes of any format to operands of the dot product: in registers for few tokens, into
/// memory for many.
namespace pare::kernels::avx512vnni {

template <class Codes>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE __m512i operand(const std::uint32_t* unit, int quad,
                                                         __m512i codebook) noexcept {
  const __m512i codes = avx512::quad_codes<Codes>(unit, quad);
  return Codes::lookup ? _mm512_shuffle_epi8(codebook, codes) : codes;
}

template <class Codes>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE __m512i load_codebook(const PackedPanel& w) noexcept {
  if constexpr (!Codes::lookup) return _mm512_setzero_si512();
  return _mm512_maskz_broadcast_i32x4(
      avx512::all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(w.operands)));
}

/// Adds `Units` units to sums in turn.
template <class Codes, int Units, int Tokens, int Chains>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void add_units(const std::uint32_t*& unit,
                                                        const std::int8_t*& codes, __m512i codebook,
                                                        __m512i (&sums)[Tokens][Chains]) noexcept {
  constexpr int quads = static_cast<int>(Codes::unit) / 4;
  PARE_UNROLL
  for (int u = 0; u < Units; ++u, unit += Codes::unit_words) {
    prefetch_unit<Codes>(unit);
    PARE_UNROLL
    for (int q = 0; q < quads; ++q, codes += 4 * Tokens) {
      const __m512i weights = operand<Codes>(unit, q, codebook);
      const int chain = (u * quads + q) % Chains;
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t)
        sums[t][chain] = dot(sums[t][chain], weights, broadcast4(codes + 4 * t));
    }
  }
}

template <class Codes, int Tokens>
PARE_TARGET_AVX512VNNI void few(const PackedPanel& w, const Segment* segments, Index segment_count,
                                const IntegerTokens& x, const IntegerResult& result) noexcept {
  // Independent sums cover the latency of the dot product where tokens alone do not.
  constexpr int chains = Tokens == 1 ? 4 : 2, step = Tokens <= 2 && Codes::unit == 8 ? 2 : 1;
  const __m512i codebook = load_codebook<Codes>(w);
  __m512 scaled[Tokens];
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) scaled[t] = _mm512_loadu_ps(result.start);
  const std::uint32_t* unit = w.codes;
  const std::int8_t* codes = x.codes;
  for (Index s = 0; s < segment_count; ++s) {
    const Index group = segments[s].weight_group;
    prefetch_parameters(w, group);
    __m512i sums[Tokens][chains];
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      sums[t][0] = _mm512_set1_epi32(x.offsets[s * Tokens + t]);
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sums[t][c] = _mm512_setzero_si512();
    }
    if (w.zero_points) {
      const __m512i zero = avx512::load_zero_points(w, group);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t) sums[t][0] = _mm512_mullo_epi32(sums[t][0], zero);
    }
    Index units = segments[s].units;
    for (; units >= step; units -= step) add_units<Codes, step>(unit, codes, codebook, sums);
    if (units > 0) add_units<Codes, 1>(unit, codes, codebook, sums);

    const __m512 scale = avx512::load_scales(w, group);
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      __m512i sum = sums[t][0];
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sum = _mm512_add_epi32(sum, sums[t][c]);
      __m512 value = _mm512_maskz_cvtepi32_ps(avx512::all, sum);
      if (x.segment_scales)
        value = _mm512_mul_ps(value, _mm512_set1_ps(x.segment_scales[s * Tokens + t]));
      scaled[t] = _mm512_fmadd_ps(value, scale, scaled[t]);
    }
  }
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    float* y = result.y + t * result.y_stride;
    __m512 value =
        _mm512_fmadd_ps(scaled[t], _mm512_set1_ps(x.scales[t]), _mm512_loadu_ps(result.bias));
    if (result.accumulate) value = _mm512_add_ps(value, _mm512_loadu_ps(y));
    _mm512_storeu_ps(y, value);
  }
}

/// With 8 bits there is nothing to decode: from five tokens on tiles of 32 channels load less. With
/// 5 to 7 bits decoding costs much: it is better done once for all tokens.
template <class Codes>
[[nodiscard]] constexpr TileTable<IntegerKernel::Few> few_tiles() noexcept {
  if constexpr (Codes::bits > 4)
    return {{nullptr, &few<Codes, 1>, &few<Codes, 2>, &few<Codes, 3>, &few<Codes, 4>}};
  else
    return {{nullptr, &few<Codes, 1>, &few<Codes, 2>, &few<Codes, 3>, &few<Codes, 4>,
             &few<Codes, 5>, &few<Codes, 6>, &few<Codes, 7>, &few<Codes, 8>}};
}

/// Codes and one vector that is added to each of them.
template <class Codes>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void decode_units(const std::uint32_t* unit, Index units,
                                                           __m512i codebook, __m512i shift,
                                                           std::uint8_t* codes) noexcept {
  constexpr int quads = static_cast<int>(Codes::unit) / 4;
  for (; units > 0; --units, unit += Codes::unit_words, codes += 64 * quads) {
    PARE_UNROLL
    for (int q = 0; q < quads; ++q)
      _mm512_storeu_si512(codes + 64 * q,
                          _mm512_add_epi8(operand<Codes>(unit, q, codebook), shift));
  }
}

template <class Codes>
PARE_TARGET_AVX512VNNI void decode(const PackedPanel& panel, const Segment* segments,
                                   Index segment_count, std::uint8_t* codes, float* scales,
                                   std::int32_t* zero_points) noexcept {
  const PackedPanel w = panel;  // stores through a pointer to bytes may change what others see
  const __m512i codebook = load_codebook<Codes>(w);
  Index first_unit = segments[0].first_unit, units = 0;
  for (Index s = 0; s < segment_count; ++s) {
    const Segment segment = segments[s];
    _mm512_storeu_ps(scales + 32 * s, avx512::load_scales(w, segment.weight_group));
    units += segment.units;
    if (!w.zero_points) continue;
    const __m512i zero = avx512::load_zero_points(w, segment.weight_group);
    if constexpr (Codes::bits == 8) {
      _mm512_storeu_si512(zero_points + 32 * s, zero);
    } else {
      // The same byte four times in each lane.
      const __m512i shift =
          _mm512_mullo_epi32(_mm512_sub_epi32(_mm512_set1_epi32(1 << Codes::bits), zero),
                             _mm512_set1_epi32(0x01010101));
      decode_units<Codes>(w.codes + first_unit * Codes::unit_words, units, codebook, shift, codes);
      codes += units * Codes::unit * panel_channels;
      first_unit += units;
      units = 0;
    }
  }
  if (codes && units > 0)
    decode_units<Codes>(w.codes + first_unit * Codes::unit_words, units, codebook,
                        _mm512_setzero_si512(), codes);
}

template <class Codes>
inline constexpr IntegerKernel integer_kernel{KernelName::avx512vnni,
                                              &sum_quads,
                                              few_tiles<Codes>(),
                                              row_tiles,
                                              group_tiles,
                                              &decode<Codes>,
                                              {Operand::u8, 2, Codes::bits == 8, Codes::bits == 8}};

}  // namespace pare::kernels::avx512vnni
