#pragma once

#include <cstring>

#include "pare/kernels/matmul_kernels.hpp"
#include "pare/kernels/x86/avx2_panel.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// vpmaddubsw on four bits of the weights at a time: 2 * 2 * 15 * 128 fits its 16-bit sums, so
/// nothing saturates. Eight-bit weights are two such halves, the upper one counted sixteenfold.
namespace pare::kernels::avx2 {

PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i broadcast4(const std::int8_t* codes) noexcept {
  std::int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return _mm256_set1_epi32(four);
}

/// sum + factor * (products of eight k): `low` holds nibbles of k = 0..3, `high` of k = 4..7.
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i add_nibbles(__m256i sum, __m256i low, __m256i high,
                                                       __m256i x_low, __m256i x_high,
                                                       int factor) noexcept {
  const __m256i pairs =
      _mm256_add_epi16(_mm256_maddubs_epi16(low, x_low), _mm256_maddubs_epi16(high, x_high));
  return _mm256_add_epi32(sum,
                          _mm256_madd_epi16(pairs, _mm256_set1_epi16(static_cast<short>(factor))));
}

template <int Bits, int Tokens>
PARE_TARGET_AVX2 PARE_FORCE_INLINE void add_unit(const std::uint32_t* unit, const std::int8_t* x,
                                                 int h, __m256i (&sums)[Tokens][2]) noexcept {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i first = load_words(unit + 8 * h);
  const __m256i second = Bits == 8 ? load_words(unit + panel_channels + 8 * h) : first;
  const __m256i first_low = _mm256_and_si256(first, nibble);
  const __m256i first_high = _mm256_and_si256(_mm256_srli_epi16(first, 4), nibble);
  const __m256i second_low = _mm256_and_si256(second, nibble);
  const __m256i second_high = _mm256_and_si256(_mm256_srli_epi16(second, 4), nibble);
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    const __m256i x_low = broadcast4(x + 4 * t), x_high = broadcast4(x + 4 * (Tokens + t));
    if constexpr (Bits == 4) {
      sums[t][h] = add_nibbles(sums[t][h], first_low, first_high, x_low, x_high, 1);
    } else {
      sums[t][h] = add_nibbles(sums[t][h], first_low, second_low, x_low, x_high, 1);
      sums[t][h] = add_nibbles(sums[t][h], first_high, second_high, x_low, x_high, 16);
    }
  }
}

template <int Bits, int Tokens>
PARE_TARGET_AVX2 void integer_tile(const PackedPanel& w, const IntegerTokens& x, float* y,
                                   Index y_stride) noexcept {
  using Codes = PackedCodes<Bits, false>;
  __m256 result[Tokens][2];
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) result[i / 2][i % 2] = _mm256_setzero_ps();
  const std::uint32_t* unit = w.codes;
  const std::int8_t* codes = x.codes;
  const std::int32_t* offsets = x.offsets;
  for (Index g = 0; g < w.groups(); ++g, offsets += Tokens) {
    __m256i sums[Tokens][2];
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) {
      __m256i& sum = sums[i / 2][i % 2];
      sum = _mm256_set1_epi32(offsets[i / 2]);
      if (w.zero_points) sum = _mm256_mullo_epi32(sum, load_zero_points(w, g, i % 2 * 8));
    }
    for (Index u = w.units_of(g); u > 0; --u) {
      if constexpr (Tokens <= 2) prefetch_unit<Codes>(unit);
      add_unit<Bits, Tokens>(unit, codes, 0, sums);
      add_unit<Bits, Tokens>(unit, codes, 1, sums);
      unit += Codes::unit_words;
      codes += Codes::unit * Tokens;
    }
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      result[i / 2][i % 2] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i / 2][i % 2]),
                                             load_scales(w, g, i % 2 * 8), result[i / 2][i % 2]);
  }
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    _mm256_storeu_ps(y + i / 2 * y_stride + i % 2 * 8,
                     _mm256_mul_ps(result[i / 2][i % 2], _mm256_set1_ps(x.scales[i / 2])));
}

template <int Bits>
inline constexpr IntegerKernel integer_kernel{
    KernelName::avx2,
    {{nullptr, &integer_tile<Bits, 1>, &integer_tile<Bits, 2>, nullptr, &integer_tile<Bits, 4>}}};

}  // namespace pare::kernels::avx2
