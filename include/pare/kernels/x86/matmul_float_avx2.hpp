#pragma once

#include "pare/kernels/matmul_kernels.hpp"
#include "pare/kernels/x86/avx2_panel.hpp"
#include "pare/kernels/x86/prefetch.hpp"

/// Two registers hold a panel's 16 channels.
namespace pare::kernels::avx2 {

/// zero_point - center.
template <class Codes>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 centered_zero_points(const PackedPanel& w, Index group,
                                                               Index half) noexcept {
  return _mm256_cvtepi32_ps(
      _mm256_sub_epi32(load_zero_points(w, group, half), _mm256_set1_epi32(Codes::center)));
}

/// The values, without scale and zero point, of the codes at the unit's k-th input channel.
template <class Codes>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 values_at(const std::uint32_t* unit, int k, Index half,
                                                    const float* table) noexcept {
  const int word = Codes::bit_of(k) / 32, shift = Codes::bit_of(k) % 32;
  const std::uint32_t* p = unit + word * panel_channels + half;
  __m256i code = _mm256_srli_epi32(load_words(p), shift);
  if (shift + Codes::bits > 32)
    code = _mm256_or_si256(code, _mm256_slli_epi32(load_words(p + panel_channels), 32 - shift));
  if constexpr (Codes::bits <= 3) {
    // The permutation reads three bits of an index and the table repeats: no mask.
    return _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), code);
  } else if constexpr (Codes::bits == 4 && Codes::lookup) {
    const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table), code);
    const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(table + 8), code);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
  } else {
    code = _mm256_and_si256(code, _mm256_set1_epi32(static_cast<int>(Codes::mask)));
    if constexpr (Codes::lookup) return _mm256_i32gather_ps(table, code, 4);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(code, _mm256_set1_epi32(Codes::center)));
  }
}

/// Four accumulators for each half cover the latency of the multiply-add.
template <class Codes>
PARE_TARGET_AVX2 void gemv(const PackedPanel& w, const float* x, const float* group_sums,
                           float* y) noexcept {
  __m256 result[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  const std::uint32_t* unit = w.codes;
  for (Index g = 0; g < w.groups(); ++g) {
    __m256 sums[2][4];
    PARE_UNROLL
    for (int i = 0; i < 8; ++i) sums[i / 4][i % 4] = _mm256_setzero_ps();
    for (Index u = w.units_of(g); u > 0; --u, unit += Codes::unit_words, x += Codes::unit) {
      prefetch_unit<Codes>(unit);
      PARE_UNROLL
      for (int i = 0; i < 2 * static_cast<int>(Codes::unit); ++i) {
        const int k = i / 2, h = i % 2;
        sums[h][k % 4] = _mm256_fmadd_ps(values_at<Codes>(unit, k, 8 * h, w.values),
                                         _mm256_set1_ps(x[k]), sums[h][k % 4]);
      }
    }
    PARE_UNROLL
    for (int h = 0; h < 2; ++h) {
      __m256 sum = _mm256_add_ps(_mm256_add_ps(sums[h][0], sums[h][1]),
                                 _mm256_add_ps(sums[h][2], sums[h][3]));
      if (w.zero_points)
        sum = _mm256_fnmadd_ps(centered_zero_points<Codes>(w, g, 8 * h),
                               _mm256_set1_ps(group_sums[g]), sum);
      result[h] = _mm256_fmadd_ps(sum, load_scales(w, g, 8 * h), result[h]);
    }
  }
  _mm256_storeu_ps(y, result[0]);
  _mm256_storeu_ps(y + 8, result[1]);
}

template <class Codes>
PARE_TARGET_AVX2 void decode(const PackedPanel& w, Index first_unit, Index units,
                             float* values) noexcept {
  const std::uint32_t* unit = w.codes + first_unit * Codes::unit_words;
  for (Index u = first_unit; u < first_unit + units;) {
    const Index group = u / w.group_units, group_end = (group + 1) * w.group_units;
    const Index end = group_end < first_unit + units ? group_end : first_unit + units;
    __m256 scale[2], zero[2];
    PARE_UNROLL
    for (int h = 0; h < 2; ++h) {
      scale[h] = load_scales(w, group, 8 * h);
      zero[h] = w.zero_points ? centered_zero_points<Codes>(w, group, 8 * h) : _mm256_setzero_ps();
    }
    for (; u < end; ++u, unit += Codes::unit_words, values += Codes::unit * panel_channels) {
      PARE_UNROLL
      for (int i = 0; i < 2 * static_cast<int>(Codes::unit); ++i) {
        const int k = i / 2, h = i % 2;
        const __m256 value = values_at<Codes>(unit, k, 8 * h, w.values);
        _mm256_storeu_ps(values + k * panel_channels + 8 * h,
                         _mm256_mul_ps(_mm256_sub_ps(value, zero[h]), scale[h]));
      }
    }
  }
}

template <int Tokens>
PARE_TARGET_AVX2 void float_tile(const float* x, const float* values, Index k_count, float* y,
                                 Index y_stride) noexcept {
  __m256 sums[Tokens][2];
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) sums[i / 2][i % 2] = _mm256_setzero_ps();
  for (Index k = 0; k < k_count; ++k, x += Tokens, values += panel_channels) {
    const __m256 w[2] = {_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)};
    PARE_UNROLL
    for (int i = 0; i < 2 * Tokens; ++i)
      sums[i / 2][i % 2] = _mm256_fmadd_ps(_mm256_set1_ps(x[i / 2]), w[i % 2], sums[i / 2][i % 2]);
  }
  PARE_UNROLL
  for (int i = 0; i < 2 * Tokens; ++i) {
    float* out = y + i / 2 * y_stride + i % 2 * 8;
    _mm256_storeu_ps(out, _mm256_add_ps(_mm256_loadu_ps(out), sums[i / 2][i % 2]));
  }
}

template <class Codes>
inline constexpr FloatKernel float_kernel{KernelName::avx2,
                                          &gemv<Codes>,
                                          &decode<Codes>,
                                          {{nullptr, &float_tile<1>, &float_tile<2>, &float_tile<3>,
                                            &float_tile<4>, nullptr, &float_tile<6>}}};

}  // namespace pare::kernels::avx2
