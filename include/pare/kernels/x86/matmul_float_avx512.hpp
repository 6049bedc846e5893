#pragma once

#include "pare/kernels/matmul_kernels.hpp"
#include "pare/kernels/x86/avx512_panel.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// One register holds a panel's 16 channels.
namespace pare::kernels::avx512 {

/// zero_point - center.
template <class Codes>
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 centered_zero_points(const PackedPanel& w,
                                                                 Index group) noexcept {
  return _mm512_maskz_cvtepi32_ps(
      all, _mm512_sub_epi32(load_zero_points(w, group), _mm512_set1_epi32(Codes::center)));
}

/// The values, without scale and zero point, of the codes at the unit's k-th input channel.
template <class Codes>
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 values_at(const std::uint32_t* unit, int k,
                                                      const float* table) noexcept {
  const int word = Codes::bit_of(k) / 32, shift = Codes::bit_of(k) % 32;
  const std::uint32_t* p = unit + word * panel_channels;
  __m512i code = _mm512_maskz_srli_epi32(all, _mm512_loadu_si512(p), static_cast<unsigned>(shift));
  if (shift + Codes::bits > 32)
    code =
        _mm512_or_si512(code, _mm512_maskz_slli_epi32(all, _mm512_loadu_si512(p + panel_channels),
                                                      static_cast<unsigned>(32 - shift)));
  if constexpr (Codes::bits <= 4) {
    // The permutation reads four bits of an index and the table repeats: no mask.
    return _mm512_maskz_permutexvar_ps(all, code, _mm512_loadu_ps(table));
  } else if constexpr (Codes::lookup) {
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(Codes::mask));
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), all, _mm512_and_si512(code, mask), table,
                                    4);
  } else {
    // (code & mask) | bits of 2^23 is the float 2^23 + code: cheaper than mask and conversion.
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(Codes::mask));
    const __m512i shifted =
        _mm512_ternarylogic_epi32(code, mask, _mm512_set1_epi32(0x4b000000), 0xea);
    return _mm512_sub_ps(_mm512_castsi512_ps(shifted),
                         _mm512_set1_ps(8388608.0f + static_cast<float>(Codes::center)));
  }
}

/// Four accumulators cover the latency of the multiply-add.
template <class Codes>
PARE_TARGET_AVX512 void gemv(const PackedPanel& w, const float* x, const float* group_sums,
                             float* y) noexcept {
  __m512 result = _mm512_setzero_ps();
  const std::uint32_t* unit = w.codes;
  for (Index g = 0; g < w.groups(); ++g) {
    __m512 sums[4];
    PARE_UNROLL
    for (int i = 0; i < 4; ++i) sums[i] = _mm512_setzero_ps();
    for (Index u = w.units_of(g); u > 0; --u, unit += Codes::unit_words, x += Codes::unit) {
      prefetch_unit<Codes>(unit);
      PARE_UNROLL
      for (int k = 0; k < Codes::unit; ++k)
        sums[k % 4] =
            _mm512_fmadd_ps(values_at<Codes>(unit, k, w.values), _mm512_set1_ps(x[k]), sums[k % 4]);
    }
    __m512 sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    if (w.zero_points)
      sum = _mm512_fnmadd_ps(centered_zero_points<Codes>(w, g), _mm512_set1_ps(group_sums[g]), sum);
    result = _mm512_fmadd_ps(sum, load_scales(w, g), result);
  }
  _mm512_storeu_ps(y, result);
}

template <class Codes>
PARE_TARGET_AVX512 void decode(const PackedPanel& w, Index first_unit, Index units,
                               float* values) noexcept {
  const std::uint32_t* unit = w.codes + first_unit * Codes::unit_words;
  for (Index u = first_unit; u < first_unit + units;) {
    const Index group = u / w.group_units, group_end = (group + 1) * w.group_units;
    const Index end = group_end < first_unit + units ? group_end : first_unit + units;
    const __m512 scale = load_scales(w, group);
    const __m512 zero = w.zero_points ? centered_zero_points<Codes>(w, group) : _mm512_setzero_ps();
    for (; u < end; ++u, unit += Codes::unit_words, values += Codes::unit * panel_channels) {
      PARE_UNROLL
      for (int k = 0; k < Codes::unit; ++k)
        _mm512_storeu_ps(
            values + k * panel_channels,
            _mm512_mul_ps(_mm512_sub_ps(values_at<Codes>(unit, k, w.values), zero), scale));
    }
  }
}

/// With few tokens several sums over k each cover the latency of the multiply-add.
template <int Tokens>
PARE_TARGET_AVX512 void float_tile(const float* x, const float* values, Index k_count, float* y,
                                   Index y_stride) noexcept {
  constexpr int chains = Tokens >= 8 ? 1 : Tokens >= 3 ? 2 : 4;  // k_count is a multiple of 8
  __m512 sums[Tokens][chains];
  PARE_UNROLL
  for (int i = 0; i < Tokens * chains; ++i) sums[i / chains][i % chains] = _mm512_setzero_ps();
  for (Index k = 0; k < k_count; k += chains) {
    PARE_UNROLL
    for (int c = 0; c < chains; ++c, x += Tokens, values += panel_channels) {
      const __m512 w = _mm512_loadu_ps(values);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t)
        sums[t][c] = _mm512_fmadd_ps(_mm512_set1_ps(x[t]), w, sums[t][c]);
    }
  }
  PARE_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    PARE_UNROLL
    for (int c = 1; c < chains; ++c) sums[t][0] = _mm512_add_ps(sums[t][0], sums[t][c]);
    float* out = y + t * y_stride;
    _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), sums[t][0]));
  }
}

template <class Codes>
inline constexpr FloatKernel float_kernel{
    KernelName::avx512,
    &gemv<Codes>,
    &decode<Codes>,
    {{nullptr, &float_tile<1>, &float_tile<2>, &float_tile<3>, &float_tile<4>, nullptr,
      &float_tile<6>, nullptr, &float_tile<8>, nullptr, nullptr, nullptr, &float_tile<12>}}};

}  // namespace pare::kernels::avx512
