#pragma once

#include "pare/kernels/x86/avx2/float_tiles.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Packed codes of any format to float32: in registers for few tokens, into memory for many. Two
/// registers hold a panel's 16 channels; `half` is 0 or 8, the first channel of one.
namespace pare::kernels::avx2 {

/// zero_point - center.
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 centered_zero_points(const PackedPanel& w, Index group,
                                                               Index half) noexcept {
  return _mm256_cvtepi32_ps(
      _mm256_sub_epi32(load_zero_points(w, group, half), _mm256_set1_epi32(w.center)));
}

/// The stored codes at the unit's k-th input channel, one per lane; bits above them are undefined
/// with a single plane.
template <class Codes, std::size_t P = 0>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i code_at(const std::uint32_t* unit, int k,
                                                   Index half) noexcept {
  constexpr int width = Codes::planes[P].width, low_bit = Codes::planes[P].low_bit;
  constexpr int columns = 32 / width;
  const int shift = k % 4 * 8 + k % columns / 4 * width - low_bit;
  __m256i bits = load_words(unit + (Codes::first_vector(P) + k / columns) * panel_channels + half);
  if (shift > 0) bits = _mm256_srli_epi32(bits, shift);
  if (shift < 0) bits = _mm256_slli_epi32(bits, -shift);
  if constexpr (Codes::planes.size() > 1)
    bits = _mm256_and_si256(bits, _mm256_set1_epi32(((1 << width) - 1) << low_bit));
  if constexpr (P + 1 < Codes::planes.size())
    bits = _mm256_or_si256(bits, code_at<Codes, P + 1>(unit, k, half));
  return bits;
}

/// Turns codes into values without scale and zero point.
template <class Codes>
struct Values {
  __m256 table;       ///< the first eight values, or 2^23 + center in all lanes
  __m256 high_table;  ///< the next eight

  PARE_TARGET_AVX2 PARE_FORCE_INLINE static Values of(const PackedPanel& w) noexcept {
    if constexpr (Codes::bits <= 3 || Codes::lookup)
      return {_mm256_loadu_ps(w.values), _mm256_loadu_ps(w.values + 8)};
    else
      return {_mm256_set1_ps(8388608.0f + static_cast<float>(w.center)), _mm256_setzero_ps()};
  }

  PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 operator()(__m256i code) const noexcept {
    if constexpr (Codes::bits <= 3) {
      // The permutation reads three bits of an index and the table repeats: no mask.
      return _mm256_permutevar8x32_ps(table, code);
    } else if constexpr (Codes::lookup) {
      static_assert(Codes::bits == 4);
      const __m256 low = _mm256_permutevar8x32_ps(table, code);
      const __m256 high = _mm256_permutevar8x32_ps(high_table, code);
      return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
    } else {
      // (code & mask) | bits of 2^23 is the float 2^23 + code: cheaper than a conversion.
      code = _mm256_and_si256(code, _mm256_set1_epi32(static_cast<int>(Codes::mask)));
      code = _mm256_or_si256(code, _mm256_set1_epi32(0x4b000000));
      return _mm256_sub_ps(_mm256_castsi256_ps(code), table);
    }
  }
};

template <class Codes, int Tokens>
PARE_TARGET_AVX2 void few(const PackedPanel& w, const float* x, const float* group_sums,
                          const FloatResult& result) noexcept {
  // Independent sums cover the latency of the multiply-add.
  constexpr int chains = Tokens == 1 ? 4 : Tokens == 2 ? 2 : 1;
  const Values<Codes> value_of = Values<Codes>::of(w);
  __m256 scaled[Tokens][2];
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) scaled[i / 2][i % 2] = _mm256_setzero_ps();
  const std::uint32_t* unit = w.codes;
  for (Index g = 0; g < w.groups(); ++g) {
    __m256 sums[Tokens][2][chains];
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens * chains; ++i)
      sums[i / chains / 2][i / chains % 2][i % chains] = _mm256_setzero_ps();
    for (Index u = w.units_of(g); u > 0; --u, unit += Codes::unit_words) {
      prefetch_unit<Codes>(unit);
      PARE_UNROLL
      for (int k = 0; k < static_cast<int>(Codes::unit); ++k, x += Tokens) {
        const __m256 low = value_of(code_at<Codes>(unit, k, 0));
        const __m256 high = value_of(code_at<Codes>(unit, k, 8));
        PARE_UNROLL
        for (int t = 0; t < Tokens; ++t) {
          const __m256 broadcast = _mm256_set1_ps(x[t]);
          sums[t][0][k % chains] = _mm256_fmadd_ps(low, broadcast, sums[t][0][k % chains]);
          sums[t][1][k % chains] = _mm256_fmadd_ps(high, broadcast, sums[t][1][k % chains]);
        }
      }
    }
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i) {
      const int t = i / 2, half = i % 2 * 8;
      __m256 sum = sums[t][i % 2][0];
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sum = _mm256_add_ps(sum, sums[t][i % 2][c]);
      if (w.zero_points)
        sum = _mm256_fnmadd_ps(centered_zero_points(w, g, half),
                               _mm256_set1_ps(group_sums[g * Tokens + t]), sum);
      scaled[t][i % 2] = _mm256_fmadd_ps(sum, load_scales(w, g, half), scaled[t][i % 2]);
    }
  }
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i)
    store_sum(scaled[i / 2][i % 2], i % 2 * 8, result.y + i / 2 * result.y_stride, result);
}

template <class Codes>
PARE_TARGET_AVX2 void decode(const PackedPanel& w, Index first_unit, Index units,
                             float* values) noexcept {
  const Values<Codes> value_of = Values<Codes>::of(w);
  const std::uint32_t* unit = w.codes + first_unit * Codes::unit_words;
  for (Index u = first_unit; u < first_unit + units;) {
    const Index group = u / w.group_units, group_end = (group + 1) * w.group_units;
    const Index end = group_end < first_unit + units ? group_end : first_unit + units;
    __m256 scale[2], zero[2];
    PARE_UNROLL
    for (int h = 0; h < 2; ++h) {
      scale[h] = load_scales(w, group, 8 * h);
      zero[h] = w.zero_points ? centered_zero_points(w, group, 8 * h) : _mm256_setzero_ps();
    }
    for (; u < end; ++u, unit += Codes::unit_words, values += Codes::unit * 2 * panel_channels) {
      PARE_UNROLL
      for (int i = 0; i < 2 * static_cast<int>(Codes::unit); ++i) {
        const int k = i / 2, h = i % 2;
        const __m256 value = value_of(code_at<Codes>(unit, k, 8 * h));
        _mm256_storeu_ps(values + k * 2 * panel_channels + 8 * h,
                         _mm256_mul_ps(_mm256_sub_ps(value, zero[h]), scale[h]));
      }
    }
  }
}

template <class Codes>
inline constexpr FloatKernel float_kernel{
    KernelName::avx2,
    {{nullptr, &few<Codes, 1>, &few<Codes, 2>, &few<Codes, 3>, &few<Codes, 4>}},
    float_tiles,
    &decode<Codes>};

}  // namespace pare::kernels::avx2
