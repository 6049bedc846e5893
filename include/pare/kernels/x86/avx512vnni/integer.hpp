#pragma once

#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/x86/avx512/codes.hpp"
#include "pare/kernels/x86/avx512vnni/dot.hpp"
#include "pare/kernels/x86/avx512vnni/integer_tiles.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Packed codes of any format to operands of the dot product: in registers for few tokens, into
/// memory for many.
namespace pare::kernels::avx512vnni {

/// Whether packed codes are operands as they lie.
template <class Codes>
inline constexpr bool is_in_place = false;
template <>
inline constexpr bool is_in_place<PackedCodes<8, false>> = true;

/// Side by side two panels share what is loaded of the activations. Decoding takes longer than
/// loads, and two streams come slower from far memory than one.
template <class Codes>
inline constexpr Index few_panels = is_in_place<Codes> ? 2 : 1;

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

/// Sums of few tokens and `Panels` panels side by side. Independent ones cover the latency of the
/// dot product: where those of tokens and panels are too few, several take turns.
template <int Tokens, int Panels>
struct FewSums {
  static constexpr int chains = Tokens * Panels <= 2 ? 4 : Tokens * Panels < 8 ? 2 : 1;
  __m512i sums[Tokens][Panels][chains];

  PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void start(int t, int p, __m512i sum) noexcept {
    sums[t][p][0] = sum;
    PARE_UNROLL
    for (int c = 1; c < chains; ++c) sums[t][p][c] = _mm512_setzero_si512();
  }
  PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void add(int t, int p, int turn, __m512i weights,
                                                    __m512i activations) noexcept {
    __m512i& sum = sums[t][p][turn % chains];
    sum = dot(sum, weights, activations);
  }
  [[nodiscard]] PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE __m512 total(int t, int p) const noexcept {
    __m512i sum = sums[t][p][0];
    PARE_UNROLL
    for (int c = 1; c < chains; ++c) sum = _mm512_add_epi32(sum, sums[t][p][c]);
    return _mm512_maskz_cvtepi32_ps(avx512::all, sum);
  }
};

/// Adds `Units` units of panels that lie `panel_words` apart to sums in turn.
template <class Codes, int Units, int Tokens, int Panels>
PARE_TARGET_AVX512VNNI PARE_FORCE_INLINE void add_units(const std::uint32_t*& unit,
                                                        Index panel_words,
                                                        const std::int8_t*& codes, __m512i codebook,
                                                        FewSums<Tokens, Panels>& sums) noexcept {
  constexpr int quads = static_cast<int>(Codes::unit) / 4;
  constexpr LineWork work = is_in_place<Codes> ? LineWork::little : LineWork::much;
  PARE_UNROLL
  for (int u = 0; u < Units; ++u, unit += Codes::unit_words) {
    PARE_UNROLL
    for (int p = 0; p < Panels; ++p) prefetch_unit<Codes, work>(unit + p * panel_words);
    PARE_UNROLL
    for (int q = 0; q < quads; ++q, codes += 4 * Tokens) {
      __m512i weights[Panels];
      PARE_UNROLL
      for (int p = 0; p < Panels; ++p)
        weights[p] = operand<Codes>(unit + p * panel_words, q, codebook);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        const __m512i activations = broadcast4(codes + 4 * t);
        PARE_UNROLL
        for (int p = 0; p < Panels; ++p) sums.add(t, p, u * quads + q, weights[p], activations);
      }
    }
  }
}

template <class Codes, int Tokens>
PARE_TARGET_AVX512VNNI void few(const PackedPanel* panels, const Segment* segments,
                                Index segment_count, const IntegerTokens& x,
                                const IntegerResult& result) noexcept {
  constexpr int abreast = static_cast<int>(few_panels<Codes>);
  constexpr int step = Tokens <= 2 && Codes::unit == 8 ? 2 : 1;
  const PackedPanel w = panels[0], &last = panels[abreast - 1];
  const Index panel_words = last.codes - w.codes;
  const __m512i codebook = load_codebook<Codes>(w);
  __m512 scaled[Tokens][abreast];
  PARE_UNROLL
  for (int i = 0; i < Tokens * abreast; ++i)
    scaled[i / abreast][i % abreast] = _mm512_loadu_ps(result.start + i % abreast * panel_channels);
  const std::uint32_t* unit = w.codes;
  const std::int8_t* codes = x.codes;
  const std::int32_t* offsets = x.offsets;
  const float* segment_scales = x.segment_scales;
  for (const Segment* s = segments; s < segments + segment_count; ++s, offsets += Tokens) {
    PARE_UNROLL
    for (int p = 0; p < abreast; ++p) prefetch_parameters(panels[p], s->weight_group);
    FewSums<Tokens, abreast> sums;
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      const __m512i offset = _mm512_set1_epi32(offsets[t]);
      PARE_UNROLL
      for (int p = 0; p < abreast; ++p) sums.start(t, p, offset);
    }
    if (w.zero_points) {
      PARE_UNROLL
      for (int p = 0; p < abreast; ++p) {
        const __m512i zero = avx512::load_zero_points(panels[p], s->weight_group);
        PARE_UNROLL
        for (int t = 0; t < Tokens; ++t)
          sums.sums[t][p][0] = _mm512_mullo_epi32(sums.sums[t][p][0], zero);
      }
    }
    Index units = s->units;
    for (; units >= step; units -= step)
      add_units<Codes, step>(unit, panel_words, codes, codebook, sums);
    if (units > 0) add_units<Codes, 1>(unit, panel_words, codes, codebook, sums);

    __m512 scale[abreast];
    PARE_UNROLL
    for (int p = 0; p < abreast; ++p) scale[p] = avx512::load_scales(panels[p], s->weight_group);
    PARE_UNROLL
    for (int i = 0; i < Tokens * abreast; ++i) {
      const int t = i / abreast, p = i % abreast;
      __m512 value = sums.total(t, p);
      if (segment_scales) value = _mm512_mul_ps(value, _mm512_set1_ps(segment_scales[t]));
      scaled[t][p] = _mm512_fmadd_ps(value, scale[p], scaled[t][p]);
    }
    if (segment_scales) segment_scales += Tokens;
  }
  PARE_UNROLL
  for (int i = 0; i < Tokens * abreast; ++i) {
    const int t = i / abreast, p = i % abreast;
    float* y = result.y + t * result.y_stride + p * panel_channels;
    __m512 value = _mm512_fmadd_ps(scaled[t][p], _mm512_set1_ps(x.scales[t]),
                                   _mm512_loadu_ps(result.bias + p * panel_channels));
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

/// To unsigned codes, or to signed ones.
template <class Codes, Operand O = Operand::u8>
PARE_TARGET_AVX512VNNI void decode(const PackedPanel& panel, const Segment* segments,
                                   Index segment_count, std::uint8_t* codes, float* scales,
                                   std::int32_t* zero_points) noexcept {
  const PackedPanel w = panel;  // stores through a pointer to bytes may change what others see
  const __m512i codebook = load_codebook<Codes>(w);
  constexpr int zero_base = O == Operand::u8 ? 1 << Codes::bits : 0;
  const int center_shift = O == Operand::u8 ? 0 : -(Codes::lookup ? 128 : w.center);
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
      const __m512i byte = _mm512_and_si512(_mm512_sub_epi32(_mm512_set1_epi32(zero_base), zero),
                                            _mm512_set1_epi32(0xff));
      const __m512i shift = _mm512_mullo_epi32(byte, _mm512_set1_epi32(0x01010101));
      decode_units<Codes>(w.codes + first_unit * Codes::unit_words, units, codebook, shift, codes);
      codes += units * Codes::unit * panel_channels;
      first_unit += units;
      units = 0;
    }
  }
  if (codes && units > 0)
    decode_units<Codes>(w.codes + first_unit * Codes::unit_words, units, codebook,
                        _mm512_set1_epi8(static_cast<char>(center_shift)), codes);
}

template <class Codes>
inline constexpr IntegerKernel integer_kernel{KernelName::avx512vnni,
                                              &sum_quads,
                                              few_tiles<Codes>(),
                                              row_tiles,
                                              group_tiles,
                                              &decode<Codes>,
                                              {Operand::u8, 2, Codes::bits == 8, Codes::bits == 8},
                                              few_panels<Codes>};

}  // namespace pare::kernels::avx512vnni
