#pragma once

#include "pare/kernels/x86/avx512/float_tiles.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Packed codes of any format to float32: in registers for few tokens, into memory for many.
namespace pare::kernels::avx512 {

/// zero_point - center.
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 centered_zero_points(const PackedPanel& w,
                                                                 Index group) noexcept {
  return _mm512_maskz_cvtepi32_ps(
      all, _mm512_sub_epi32(load_zero_points(w, group), _mm512_set1_epi32(w.center)));
}

/// The stored codes at the unit's k-th input channel, one per lane; bits above them are undefined
/// with a single plane.
template <class Codes, std::size_t P = 0>
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i codes_at(const std::uint32_t* unit, int k) noexcept {
  constexpr int width = Codes::planes[P].width, low_bit = Codes::planes[P].low_bit;
  constexpr int columns = 32 / width;
  const int shift = k % 4 * 8 + k % columns / 4 * width - low_bit;
  __m512i bits = _mm512_loadu_si512(unit + (Codes::first_vector(P) + k / columns) * panel_channels);
  if (shift > 0) bits = _mm512_maskz_srli_epi32(all, bits, static_cast<unsigned>(shift));
  if (shift < 0) bits = _mm512_maskz_slli_epi32(all, bits, static_cast<unsigned>(-shift));
  if constexpr (Codes::planes.size() > 1)
    bits = _mm512_and_si512(bits, _mm512_set1_epi32(((1 << width) - 1) << low_bit));
  if constexpr (P + 1 < Codes::planes.size())
    bits = _mm512_or_si512(bits, codes_at<Codes, P + 1>(unit, k));
  return bits;
}

/// Turns codes into values without scale and zero point.
template <class Codes>
struct Values {
  __m512 table;  ///< the first sixteen values, or 2^23 + center in all lanes
  const float* values;

  PARE_TARGET_AVX512 PARE_FORCE_INLINE static Values of(const PackedPanel& w) noexcept {
    if constexpr (Codes::bits <= 4)
      return {_mm512_loadu_ps(w.values), w.values};
    else
      return {_mm512_set1_ps(8388608.0f + static_cast<float>(w.center)), w.values};
  }

  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 operator()(__m512i code) const noexcept {
    if constexpr (Codes::bits <= 4) {
      // The permutation reads four bits of an index and the table repeats: no mask.
      return _mm512_maskz_permutexvar_ps(all, code, table);
    } else {
      static_assert(!Codes::lookup);
      // (code & mask) | bits of 2^23 is the float 2^23 + code: cheaper than mask and conversion.
      const __m512i mask = _mm512_set1_epi32(static_cast<int>(Codes::mask));
      const __m512i shifted =
          _mm512_ternarylogic_epi32(code, mask, _mm512_set1_epi32(0x4b000000), 0xea);
      return _mm512_sub_ps(_mm512_castsi512_ps(shifted), table);
    }
  }
};

template <class Codes, int Tokens>
PARE_TARGET_AVX512 void few(const PackedPanel& w, const float* x, const float* group_sums,
                            const FloatResult& result) noexcept {
  // Independent sums cover the latency of the multiply-add.
  constexpr int chains = Tokens == 1 ? 4 : Tokens <= 4 ? 2 : 1;
  const Values<Codes> value_of = Values<Codes>::of(w);
  __m512 scaled[Tokens];
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) scaled[t] = _mm512_setzero_ps();
  const std::uint32_t* unit = w.codes;
  for (Index g = 0; g < w.groups(); ++g) {
    prefetch_parameters(w, g);
    __m512 sums[Tokens][chains];
    PARE_UNROLL
    for (int i = 0; i < Tokens * chains; ++i) sums[i / chains][i % chains] = _mm512_setzero_ps();
    for (Index u = w.units_of(g); u > 0; --u, unit += Codes::unit_words) {
      prefetch_unit<Codes>(unit);
      PARE_UNROLL
      for (int k = 0; k < static_cast<int>(Codes::unit); ++k, x += Tokens) {
        const __m512 value = value_of(codes_at<Codes>(unit, k));
        PARE_UNROLL
        for (int t = 0; t < Tokens; ++t)
          sums[t][k % chains] = _mm512_fmadd_ps(value, _mm512_set1_ps(x[t]), sums[t][k % chains]);
      }
    }
    const __m512 scale = load_scales(w, g);
    const __m512 zero = w.zero_points ? centered_zero_points(w, g) : _mm512_setzero_ps();
    PARE_UNROLL
    for (int t = 0; t < Tokens; ++t) {
      __m512 sum = sums[t][0];
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sum = _mm512_add_ps(sum, sums[t][c]);
      if (w.zero_points)
        sum = _mm512_fnmadd_ps(zero, _mm512_set1_ps(group_sums[g * Tokens + t]), sum);
      scaled[t] = _mm512_fmadd_ps(sum, scale, scaled[t]);
    }
  }
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) store_sum(scaled[t], 0, result.y + t * result.y_stride, result);
}

template <class Codes>
PARE_TARGET_AVX512 void decode(const PackedPanel& w, Index first_unit, Index units,
                               float* values) noexcept {
  const Values<Codes> value_of = Values<Codes>::of(w);
  const std::uint32_t* unit = w.codes + first_unit * Codes::unit_words;
  for (Index u = first_unit; u < first_unit + units;) {
    const Index group = u / w.group_units, group_end = (group + 1) * w.group_units;
    const Index end = group_end < first_unit + units ? group_end : first_unit + units;
    const __m512 scale = load_scales(w, group);
    const __m512 zero = w.zero_points ? centered_zero_points(w, group) : _mm512_setzero_ps();
    for (; u < end; ++u, unit += Codes::unit_words, values += Codes::unit * 2 * panel_channels) {
      PARE_UNROLL
      for (int k = 0; k < static_cast<int>(Codes::unit); ++k)
        _mm512_storeu_ps(
            values + k * 2 * panel_channels,
            _mm512_mul_ps(_mm512_sub_ps(value_of(codes_at<Codes>(unit, k)), zero), scale));
    }
  }
}

template <class Codes>
inline constexpr FloatKernel float_kernel{
    KernelName::avx512,
    {{nullptr, &few<Codes, 1>, &few<Codes, 2>, &few<Codes, 3>, &few<Codes, 4>}},
    float_tiles,
    &decode<Codes>};

}  // namespace pare::kernels::avx512
