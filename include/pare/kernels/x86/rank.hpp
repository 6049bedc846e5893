#pragma once

#include <immintrin.h>

#include <bit>
#include <cstdint>

#include "pare/kernels/contract/rank.hpp"
#include "pare/kernels/reference/rank.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels {

namespace avx512 {

PARE_TARGET_AVX512 inline bool has_nan(const float* x, Index n) noexcept {
  __mmask16 any = 0;
  Index j = 0;
  for (; j + 16 <= n; j += 16) {
    const __m512 v = _mm512_loadu_ps(x + j);
    any = static_cast<__mmask16>(any | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q));
  }
  return any != 0 || reference::has_nan(x + j, n - j);
}

PARE_TARGET_AVX512 inline Index count_below(const float* x, Index n, float bound) noexcept {
  const __m512 limit = _mm512_set1_ps(bound);
  Index count = 0, j = 0;
  for (; j + 64 <= n; j += 64) {
    std::uint64_t bits = 0;
    for (int k = 0; k < 4; ++k)
      bits |= std::uint64_t{_mm512_cmp_ps_mask(_mm512_loadu_ps(x + j + 16 * k), limit, _CMP_LT_OQ)}
              << 16 * k;
    count += std::popcount(bits);
  }
  return count + reference::count_below(x + j, n - j, bound);
}

PARE_TARGET_AVX512 inline Index copy_between(const float* x, Index n, float low, float high,
                                             float* out) noexcept {
  const __m512 from = _mm512_set1_ps(low), to = _mm512_set1_ps(high);
  Index count = 0, j = 0;
  for (; j + 16 <= n; j += 16) {
    const __m512 v = _mm512_loadu_ps(x + j);
    const __mmask16 inside =
        _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, from, _CMP_GE_OQ), v, to, _CMP_LE_OQ);
    _mm512_mask_compressstoreu_ps(out + count, inside, v);
    count += std::popcount(static_cast<std::uint32_t>(inside));
  }
  return count + reference::copy_between(x + j, n - j, low, high, out + count);
}

PARE_TARGET_AVX512 inline void bits_from(const float* x, Index n, float bound,
                                         std::uint64_t* words) noexcept {
  const __m512 limit = _mm512_set1_ps(bound);
  Index j = 0;
  for (; j + 64 <= n; j += 64) {
    std::uint64_t bits = 0;
    for (int k = 0; k < 4; ++k)
      bits |= std::uint64_t{_mm512_cmp_ps_mask(_mm512_loadu_ps(x + j + 16 * k), limit, _CMP_GE_OQ)}
              << 16 * k;
    words[j / 64] = bits;
  }
  reference::bits_from(x + j, n - j, bound, words + j / 64);
}

inline constexpr RankKernel rank_kernel{has_nan, count_below, copy_between, bits_from};

}  // namespace avx512

namespace avx2 {

PARE_TARGET_AVX2 inline bool has_nan(const float* x, Index n) noexcept {
  __m256 any = _mm256_setzero_ps();
  Index j = 0;
  for (; j + 8 <= n; j += 8) {
    const __m256 v = _mm256_loadu_ps(x + j);
    any = _mm256_or_ps(any, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  }
  return _mm256_movemask_ps(any) != 0 || reference::has_nan(x + j, n - j);
}

PARE_TARGET_AVX2 inline Index count_below(const float* x, Index n, float bound) noexcept {
  const __m256 limit = _mm256_set1_ps(bound);
  Index count = 0, j = 0;
  while (j + 8 <= n) {
    // A lane counts to 2^31.
    const Index end = n - j > (Index{1} << 30) ? j + (Index{1} << 30) : n;
    __m256i counts = _mm256_setzero_si256();
    for (; j + 8 <= end; j += 8)
      counts = _mm256_sub_epi32(
          counts, _mm256_castps_si256(_mm256_cmp_ps(_mm256_loadu_ps(x + j), limit, _CMP_LT_OQ)));
    alignas(32) std::int32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), counts);
    for (const std::int32_t lane : lanes) count += lane;
  }
  return count + reference::count_below(x + j, n - j, bound);
}

PARE_TARGET_AVX2 inline Index copy_between(const float* x, Index n, float low, float high,
                                           float* out) noexcept {
  const __m256 from = _mm256_set1_ps(low), to = _mm256_set1_ps(high);
  Index count = 0, j = 0;
  for (; j + 8 <= n; j += 8) {
    const __m256 v = _mm256_loadu_ps(x + j);
    auto inside = static_cast<std::uint32_t>(_mm256_movemask_ps(
        _mm256_and_ps(_mm256_cmp_ps(v, from, _CMP_GE_OQ), _mm256_cmp_ps(v, to, _CMP_LE_OQ))));
    for (; inside != 0; inside &= inside - 1) out[count++] = x[j + std::countr_zero(inside)];
  }
  return count + reference::copy_between(x + j, n - j, low, high, out + count);
}

PARE_TARGET_AVX2 inline void bits_from(const float* x, Index n, float bound,
                                       std::uint64_t* words) noexcept {
  const __m256 limit = _mm256_set1_ps(bound);
  Index j = 0;
  for (; j + 64 <= n; j += 64) {
    std::uint64_t bits = 0;
    for (int k = 0; k < 8; ++k)
      bits |= std::uint64_t{static_cast<std::uint32_t>(_mm256_movemask_ps(
                  _mm256_cmp_ps(_mm256_loadu_ps(x + j + 8 * k), limit, _CMP_GE_OQ)))}
              << 8 * k;
    words[j / 64] = bits;
  }
  reference::bits_from(x + j, n - j, bound, words + j / 64);
}

inline constexpr RankKernel rank_kernel{has_nan, count_below, copy_between, bits_from};

}  // namespace avx2

}  // namespace pare::kernels
