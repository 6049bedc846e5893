#pragma once

#include <type_traits>

#include "pare/kernels/x86/avx2/integer_products.hpp"
#include "pare/kernels/x86/avx2/integer_products_vnni.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Packed codes of any format to operands, for AVX2 and AVX-VNNI: in registers for few tokens, into
/// memory for many.
namespace pare::kernels::avx2 {

/// The codes of k = 4 quad .. 4 quad + 3 of half of a unit's channels, from plane P on.
template <class Codes, std::size_t P = 0>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i codes_at(const std::uint32_t* unit, int quad,
                                                    int half) noexcept {
  constexpr int width = Codes::planes[P].width, low_bit = Codes::planes[P].low_bit;
  constexpr int per_vector = 8 / width;
  const int shift = quad % per_vector * width - low_bit;
  __m256i bits =
      load(unit + (Codes::first_vector(P) + quad / per_vector) * panel_channels + 8 * half);
  if (shift > 0) bits = _mm256_srli_epi16(bits, shift);
  if (shift < 0) bits = _mm256_slli_epi16(bits, -shift);
  if constexpr (width < 8)
    bits =
        _mm256_and_si256(bits, _mm256_set1_epi8(static_cast<char>(((1 << width) - 1) << low_bit)));
  if constexpr (P + 1 < Codes::planes.size())
    bits = _mm256_or_si256(bits, codes_at<Codes, P + 1>(unit, quad, half));
  return bits;
}

template <class Codes>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i operand(const std::uint32_t* unit, int quad, int half,
                                                   __m256i codebook) noexcept {
  const __m256i codes = codes_at<Codes>(unit, quad, half);
  return Codes::lookup ? _mm256_shuffle_epi8(codebook, codes) : codes;
}

template <class Codes>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i load_codebook(const PackedPanel& w) noexcept {
  if constexpr (!Codes::lookup) return _mm256_setzero_si256();
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w.operands)));
}

/// Adds `units` units, `Step` at a time.
template <class Codes, class Products, int Step, int Tokens>
PARE_TARGET_AVX2 PARE_FORCE_INLINE void add_units(
    const std::uint32_t*& unit, const std::int8_t*& codes, Index units, __m256i codebook,
    typename Products::template Sums<Tokens>& sums) noexcept {
  constexpr int quads = static_cast<int>(Codes::unit) / 4;
  constexpr Index quad_bytes = 4 * Tokens * operand_bytes(Products::operand);
  for (; units >= Step; units -= Step) {
    PARE_UNROLL
    for (int u = 0; u < Step; ++u, unit += Codes::unit_words) {
      prefetch_unit<Codes>(unit);
      PARE_UNROLL
      for (int q = 0; q < quads; ++q, codes += quad_bytes) {
        sums.add(0, u * quads + q, operand<Codes>(unit, q, 0, codebook), codes);
        sums.add(1, u * quads + q, operand<Codes>(unit, q, 1, codebook), codes);
      }
    }
  }
}

template <class Codes, class Products, int Tokens>
PARE_TARGET_AVX2 void few(const PackedPanel* panel, const Segment* segments, Index segment_count,
                          const IntegerTokens& x, const IntegerResult& result) noexcept {
  const PackedPanel& w = *panel;
  // Two units of two quads feed the four sums that one token needs: see Products::Sums.
  constexpr Index block_units = 32 / Codes::unit, step = Tokens == 1 && Codes::unit == 8 ? 2 : 1;
  const __m256i codebook = load_codebook<Codes>(w);
  __m256 scaled[Tokens][2];
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    scaled[i / 2][i % 2] = _mm256_loadu_ps(result.start + i % 2 * 8);
  const std::uint32_t* unit = w.codes;
  const std::int8_t* codes = x.codes;
  for (Index s = 0; s < segment_count; ++s) {
    const Index group = segments[s].weight_group;
    typename Products::template Sums<Tokens> sums;
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) {
      __m256i start = _mm256_set1_epi32(x.offsets[s * Tokens + i / 2]);
      if (w.zero_points) start = _mm256_mullo_epi32(start, load_zero_points(w, group, i % 2 * 8));
      sums.start(i / 2, i % 2, start);
    }
    for (Index units = segments[s].units; units > 0; units -= block_units) {
      const Index block = units < block_units ? units : block_units;
      add_units<Codes, Products, step, Tokens>(unit, codes, block, codebook, sums);
      if (block % step != 0) add_units<Codes, Products, 1, Tokens>(unit, codes, 1, codebook, sums);
      sums.end_block();
    }
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) {
      __m256 value = _mm256_cvtepi32_ps(sums.total(i / 2, i % 2));
      if (x.segment_scales)
        value = _mm256_mul_ps(value, _mm256_set1_ps(x.segment_scales[s * Tokens + i / 2]));
      scaled[i / 2][i % 2] =
          _mm256_fmadd_ps(value, load_scales(w, group, i % 2 * 8), scaled[i / 2][i % 2]);
    }
  }
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) store_result(scaled[i / 2][i % 2], i / 2, i % 2, x, result);
}

/// What is taken out of half of the decoded codes, in lanes of 32 bits.
template <class Codes, class Products>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i decoded_origin(const PackedPanel& w, Index group,
                                                          int half) noexcept {
  constexpr TileWeights weights = Products::template weights<Codes>;
  constexpr bool words = weights.operand == Operand::s16;
  if (!w.zero_points) return _mm256_set1_epi32(!words ? 0 : Codes::lookup ? 128 : w.center);
  if (weights.zero_points_apart) return _mm256_setzero_si256();
  const __m256i zero = load_zero_points(w, group, 8 * half);
  // zero_point - 2^bits, modulo 256.
  return words ? zero : _mm256_add_epi32(zero, _mm256_set1_epi32(256 - (1 << Codes::bits)));
}

template <class Codes, class Products>
PARE_TARGET_AVX2 void decode(const PackedPanel& w, const Segment* segments, Index segment_count,
                             std::uint8_t* codes, float* scales,
                             std::int32_t* zero_points) noexcept {
  constexpr TileWeights weights = Products::template weights<Codes>;
  constexpr int quads = static_cast<int>(Codes::unit) / 4;
  const __m256i codebook = load_codebook<Codes>(w);
  for (Index s = 0; s < segment_count; ++s, scales += panel_channels) {
    const Segment& segment = segments[s];
    __m256i origin[2];
    PARE_UNROLL
    for (int half = 0; half < 2; ++half) {
      _mm256_storeu_ps(scales + 8 * half, load_scales(w, segment.weight_group, 8 * half));
      if (weights.zero_points_apart && w.zero_points)
        store(zero_points + panel_channels * s + 8 * half,
              load_zero_points(w, segment.weight_group, 8 * half));
      // The same in all bytes or words of a lane.
      origin[half] = _mm256_mullo_epi32(
          decoded_origin<Codes, Products>(w, segment.weight_group, half),
          _mm256_set1_epi32(weights.operand == Operand::s16 ? 0x00010001 : 0x01010101));
    }
    if constexpr (!weights.in_place) {
      const std::uint32_t* unit = w.codes + segment.first_unit * Codes::unit_words;
      for (Index u = 0; u < segment.units; ++u, unit += Codes::unit_words) {
        PARE_UNROLL
        for (int i = 0; i < 2 * quads; ++i) {
          const int q = i / 2, half = i % 2;
          const __m256i bytes = operand<Codes>(unit, q, half, codebook);
          if constexpr (weights.operand == Operand::s16) {
            store(codes + 128 * q + 32 * half, _mm256_sub_epi16(even_bytes(bytes), origin[half]));
            store(codes + 128 * q + 64 + 32 * half,
                  _mm256_sub_epi16(odd_bytes(bytes), origin[half]));
          } else {
            store(codes + 64 * q + 32 * half, _mm256_sub_epi8(bytes, origin[half]));
          }
        }
        codes += 64 * quads * operand_bytes(weights.operand);
      }
    }
  }
}

/// With 5 to 7 bits decoding costs much: from three tokens on it is done once for all of them.
template <class Codes, class Products>
[[nodiscard]] constexpr TileTable<IntegerKernel::Few> few_tiles() noexcept {
  if constexpr (Codes::bits > 4 && Codes::bits < 8)
    return {{nullptr, &few<Codes, Products, 1>, &few<Codes, Products, 2>}};
  else
    return {{nullptr, &few<Codes, Products, 1>, &few<Codes, Products, 2>, &few<Codes, Products, 3>,
             &few<Codes, Products, 4>}};
}

template <class Codes, class Products>
[[nodiscard]] constexpr IntegerKernel integer_kernel_of(KernelName name) noexcept {
  return {name,
          &Products::sum_quads,
          few_tiles<Codes, Products>(),
          row_tiles<Products>,
          group_tiles<Products>,
          &decode<Codes, Products>,
          Products::template weights<Codes>};
}

template <class Codes>
inline constexpr IntegerKernel integer_kernel = integer_kernel_of<
    Codes, std::conditional_t<Codes::bits <= 4 && !Codes::lookup, ByteProducts, WordProducts>>(
    KernelName::avx2);

}  // namespace pare::kernels::avx2

namespace pare::kernels::avxvnni {

template <class Codes>
inline constexpr IntegerKernel integer_kernel =
    avx2::integer_kernel_of<Codes, DotProducts>(KernelName::avxvnni);

}  // namespace pare::kernels::avxvnni
