#pragma once

#include "pare/kernels/reference/quantize_activations.hpp"
#include "pare/kernels/x86/quotient.hpp"

/// Codes are equal bit by bit to the reference's: see kernels/x86/quotient.hpp. Scales without
/// exact quotients go to the reference.
namespace pare::kernels::avx512 {

/// A mask of the first `count` of sixteen lanes.
PARE_TARGET_AVX512 PARE_FORCE_INLINE __mmask16 first_lanes(Index count) noexcept {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1u);
}

PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i magnitude_bits(__m512 x) noexcept {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}

PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i larger(__m512i a, __m512i b) noexcept {
  return _mm512_maskz_max_epi32(0xffff, a, b);
}

PARE_TARGET_AVX512 inline float absmax(const float* x, Index count) noexcept {
  __m512i a = _mm512_setzero_si512(), b = a;
  Index i = 0;
  for (; i + 64 <= count; i += 64) {
    a = larger(a, magnitude_bits(_mm512_loadu_ps(x + i)));
    b = larger(b, magnitude_bits(_mm512_loadu_ps(x + i + 16)));
    a = larger(a, magnitude_bits(_mm512_loadu_ps(x + i + 32)));
    b = larger(b, magnitude_bits(_mm512_loadu_ps(x + i + 48)));
  }
  for (; i < count; i += 16)
    a = larger(a, magnitude_bits(_mm512_maskz_loadu_ps(first_lanes(count - i), x + i)));
  a = larger(a, b);
  const __m256i eight = _mm256_max_epi32(_mm512_maskz_extracti32x8_epi32(0xff, a, 0),
                                         _mm512_maskz_extracti32x8_epi32(0xff, a, 1));
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

/// Codes of a scale that covers every value: neither clipped nor shifted.
struct CoveringCodes {
  Divisor scale;

  PARE_TARGET_AVX512 PARE_FORCE_INLINE explicit CoveringCodes(
      const ActivationParameters& p) noexcept
      : scale(make_divisor(p.scale)) {}
  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i operator()(__m512 x) const noexcept {
    return _mm512_maskz_cvtps_epi32(0xffff, quotient(x, scale));
  }
};

/// Values beyond 512 scales count as so many, for no product may overflow; they are clipped anyway.
struct ClippedCodes {
  Divisor scale;
  __m512 limit;
  __m512i zero_point, lowest;

  PARE_TARGET_AVX512 PARE_FORCE_INLINE explicit ClippedCodes(const ActivationParameters& p) noexcept
      : scale(make_divisor(p.scale)),
        limit(_mm512_set1_ps(512.0f * p.scale)),
        zero_point(_mm512_set1_epi32(p.zero_point)),
        lowest(_mm512_set1_epi32(p.lowest_code)) {}
  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i operator()(__m512 x) const noexcept {
    const __m512i level = _mm512_maskz_cvtps_epi32(0xffff, quotient(limited(x, limit), scale));
    return larger(_mm512_add_epi32(level, zero_point), lowest);
  }
};

/// Narrowing saturates, which clips at 127.
template <class Codes>
PARE_TARGET_AVX512 void quantize_row(const float* x, Index count, const ActivationParameters& p,
                                     std::int8_t* codes) noexcept {
  const Codes code(p);
  // Packing works in quarters of a register: quarter q holds dword q of each of the four inputs.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  Index i = 0;
  for (; i + 64 <= count; i += 64) {
    // Brings the same piece of the next row while this one keeps the arithmetic units busy.
    PARE_UNROLL
    for (Index k = 0; k < 64; k += 16)
      _mm_prefetch(reinterpret_cast<const char*>(x + i + count + k), _MM_HINT_T0);
    const __m512i ab =
        _mm512_packs_epi32(code(_mm512_loadu_ps(x + i)), code(_mm512_loadu_ps(x + i + 16)));
    const __m512i cd =
        _mm512_packs_epi32(code(_mm512_loadu_ps(x + i + 32)), code(_mm512_loadu_ps(x + i + 48)));
    _mm512_storeu_si512(codes + i,
                        _mm512_maskz_permutexvar_epi32(0xffff, order, _mm512_packs_epi16(ab, cd)));
  }
  for (; i < count; i += 16) {
    const __mmask16 lanes = first_lanes(count - i);
    const __m512i levels = code(_mm512_maskz_loadu_ps(lanes, x + i));
    _mm_mask_storeu_epi8(codes + i, lanes, _mm512_maskz_cvtsepi32_epi8(lanes, levels));
  }
}

PARE_TARGET_AVX512 inline void quantize_row(const float* x, Index count,
                                            const ActivationParameters& p,
                                            std::int8_t* codes) noexcept {
  if (!has_exact_quotients(p.scale))
    reference::quantize_row(x, count, p, codes);
  else if (p.covers)
    quantize_row<CoveringCodes>(x, count, p, codes);
  else
    quantize_row<ClippedCodes>(x, count, p, codes);
}

/// Adds bytes as unsigned numbers, code + 128.
PARE_TARGET_AVX512 inline std::int32_t sum(const std::int8_t* codes, Index count) noexcept {
  const __m512i shift = _mm512_set1_epi8(-128), zero = _mm512_setzero_si512();
  __m512i sums = zero;
  Index i = 0;
  for (; i + 64 <= count; i += 64)
    sums = _mm512_add_epi64(
        sums, _mm512_sad_epu8(_mm512_xor_si512(_mm512_loadu_si512(codes + i), shift), zero));
  if (i < count) {
    const __mmask64 lanes = (__mmask64{1} << (count - i)) - 1;
    const __m512i bytes = _mm512_maskz_loadu_epi8(lanes, codes + i);
    sums =
        _mm512_add_epi64(sums, _mm512_sad_epu8(_mm512_maskz_add_epi8(lanes, bytes, shift), zero));
  }
  const __m256i four = _mm256_add_epi64(_mm512_maskz_extracti64x4_epi64(0xf, sums, 0),
                                        _mm512_maskz_extracti64x4_epi64(0xf, sums, 1));
  const __m128i two =
      _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
  const long long total = _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
  return static_cast<std::int32_t>(total - 128 * count);
}

PARE_TARGET_AVX512 inline void gather(const float* x, const std::int32_t* order, Index count,
                                      float* out) noexcept {
  for (Index i = 0; i < count; i += 16) {
    const __mmask16 lanes = first_lanes(count - i);
    const __m512i columns = _mm512_maskz_loadu_epi32(lanes, order + i);
    _mm512_mask_storeu_ps(out + i, lanes,
                          _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, columns, x, 4));
  }
}

inline constexpr ActivationKernel activation_kernel{&absmax, &quantize_row, &sum, &gather};

}  // namespace pare::kernels::avx512
