#pragma once

#include <emmintrin.h>

#include "pare/core/config.hpp"
#include "pare/kernels/reference/bf16_pairs.hpp"

/// SSE2 is part of x86-64: no target attribute, no choice at run time. See bf16_pairs.hpp.
namespace pare::kernels::sse2 {

/// bf16 in the upper halves; the lower ones are not cleared. NaN stays a quiet NaN.
PARE_FORCE_INLINE __m128i round_to_bf16(__m128 x) noexcept {
  const __m128i bits = _mm_castps_si128(x);
  const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
  const __m128i rounded = _mm_add_epi32(_mm_add_epi32(bits, odd), _mm_set1_epi32(0x7fff));
  const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(x, x));
  const __m128i quiet = _mm_or_si128(bits, _mm_set1_epi32(0x400000));
  return _mm_or_si128(_mm_and_si128(nan, quiet), _mm_andnot_si128(nan, rounded));
}

PARE_FORCE_INLINE __m128i upper_halves(__m128i words) noexcept {
  return _mm_and_si128(words, _mm_set1_epi32(static_cast<int>(0xffff0000)));
}

inline void round_to_bf16(float* x, Index count) noexcept {
  Index i = 0;
  for (; i + 4 <= count; i += 4)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(x + i),
                     upper_halves(round_to_bf16(_mm_loadu_ps(x + i))));
  reference::round_to_bf16(x + i, count - i);
}

PARE_FORCE_INLINE __m128i bf16_pairs(__m128 first, __m128 second) noexcept {
  return _mm_or_si128(_mm_srli_epi32(round_to_bf16(first), 16),
                      upper_halves(round_to_bf16(second)));
}

/// Four pairs at a time; two are left when count is odd.
inline void pack_bf16_pairs(float* x, Index quads, Index count) noexcept {
  float* out = x;
  for (; quads > 0; --quads, x += 4 * count, out += 2 * count) {
    const float* second = x + 2 * count;
    Index i = 0;
    for (; i + 4 <= 2 * count; i += 4)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                       bf16_pairs(_mm_loadu_ps(x + i), _mm_loadu_ps(second + i)));
    if (i < 2 * count)
      _mm_storel_epi64(
          reinterpret_cast<__m128i*>(out + i),
          bf16_pairs(
              _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + i))),
              _mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(second + i)))));
  }
}

}  // namespace pare::kernels::sse2
