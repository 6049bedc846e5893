#pragma once

#include <immintrin.h>

#include <algorithm>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/arrange_codes.hpp"
#include "pare/kernels/x86/avx512/panel.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels::avx512 {

/// Rows of sixteen 32-bit words become columns: pairs of words, pairs of pairs, then the quarters
/// of the registers change places.
PARE_TARGET_AVX512 PARE_FORCE_INLINE void transpose_words(__m512i* w) noexcept {
  __m512i t[16];
  PARE_UNROLL
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_maskz_unpacklo_epi32(all, w[i], w[i + 1]);
    t[i + 1] = _mm512_maskz_unpackhi_epi32(all, w[i], w[i + 1]);
  }
  PARE_UNROLL
  for (int i = 0; i < 16; i += 4) {
    w[i] = _mm512_maskz_unpacklo_epi64(0xff, t[i], t[i + 2]);
    w[i + 1] = _mm512_maskz_unpackhi_epi64(0xff, t[i], t[i + 2]);
    w[i + 2] = _mm512_maskz_unpacklo_epi64(0xff, t[i + 1], t[i + 3]);
    w[i + 3] = _mm512_maskz_unpackhi_epi64(0xff, t[i + 1], t[i + 3]);
  }
  PARE_UNROLL
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_maskz_shuffle_i32x4(all, w[i], w[i + 4], 0x88);
    t[i + 4] = _mm512_maskz_shuffle_i32x4(all, w[i], w[i + 4], 0xdd);
    t[i + 8] = _mm512_maskz_shuffle_i32x4(all, w[i + 8], w[i + 12], 0x88);
    t[i + 12] = _mm512_maskz_shuffle_i32x4(all, w[i + 8], w[i + 12], 0xdd);
  }
  PARE_UNROLL
  for (int i = 0; i < 4; ++i) {
    w[i] = _mm512_maskz_shuffle_i32x4(all, t[i], t[i + 8], 0x88);
    w[i + 4] = _mm512_maskz_shuffle_i32x4(all, t[i + 4], t[i + 12], 0x88);
    w[i + 8] = _mm512_maskz_shuffle_i32x4(all, t[i], t[i + 8], 0xdd);
    w[i + 12] = _mm512_maskz_shuffle_i32x4(all, t[i + 4], t[i + 12], 0xdd);
  }
}

/// The parts of every code that lie in the planes from P on.
template <class Codes, std::size_t P = 0>
PARE_TARGET_AVX512 PARE_FORCE_INLINE void store_planes(const __m512i* stored,
                                                       std::uint32_t* unit) noexcept {
  if constexpr (P < Codes::planes.size()) {
    constexpr Plane plane = Codes::planes[P];
    constexpr Index vectors = Codes::unit / plane.vector_columns(), parts = 8 / plane.width;
    const __m512i mask = _mm512_set1_epi8(static_cast<char>((1u << plane.width) - 1u));
    PARE_UNROLL
    for (Index v = 0; v < vectors; ++v) {
      __m512i words = _mm512_setzero_si512();
      PARE_UNROLL
      for (Index part = 0; part < parts; ++part) {
        const __m512i quad = _mm512_maskz_srli_epi32(all, stored[v * parts + part], plane.low_bit);
        words = _mm512_or_si512(words,
                                _mm512_maskz_slli_epi32(all, _mm512_and_si512(quad, mask),
                                                        static_cast<unsigned>(part * plane.width)));
      }
      _mm512_storeu_si512(unit + (Codes::first_vector(P) + v) * panel_channels, words);
    }
    store_planes<Codes, P + 1>(stored, unit);
  }
}

/// See ArrangeCodes.
template <Format F>
PARE_TARGET_AVX512 void arrange_codes(const CodeRows& rows, Index count, LaneSums& sums,
                                      std::uint32_t* unit) noexcept {
  using Codes = packed_codes<F>;
  constexpr Index block = 64, quads = Codes::unit / 4;
  const __m512i padding = _mm512_set1_epi8(static_cast<char>(padding_code<F>));
  const __m512i offset = _mm512_set1_epi8(static_cast<char>(F::code_offset));
  const __m512i ones = _mm512_set1_epi8(1);
  const __m512i codebook = _mm512_maskz_broadcast_i32x4(
      all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(sum_operands<F>.data())));
  __m512i largest = _mm512_load_si512(sums.largest), total = _mm512_load_si512(sums.operands);
  for (Index position = 0; position < count; position += block) {
    const Index left = std::min(block, count - position);
    const __mmask64 mask = ~__mmask64{0} >> (block - left);
    __m512i words[panel_channels];
    for (Index lane = 0; lane < panel_channels; ++lane)
      words[lane] =
          lane < rows.lanes
              ? _mm512_mask_loadu_epi8(padding, mask, rows.first + lane * rows.stride + position)
              : padding;
    transpose_words(words);
    for (Index first = 0; first * 4 < left; first += quads, unit += Codes::unit_words) {
      PARE_UNROLL
      for (Index i = first; i < first + quads; ++i) {
        words[i] = _mm512_add_epi8(words[i], offset);
        largest = _mm512_max_epu8(largest, words[i]);
        const __m512i operands = F::is_integer ? words[i] : _mm512_shuffle_epi8(codebook, words[i]);
        total = _mm512_add_epi16(total, _mm512_maddubs_epi16(operands, ones));
      }
      store_planes<Codes>(words + first, unit);
    }
  }
  _mm512_store_si512(sums.largest, largest);
  _mm512_store_si512(sums.operands, total);
}

}  // namespace pare::kernels::avx512
