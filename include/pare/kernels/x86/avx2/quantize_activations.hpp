#pragma once

#include "pare/kernels/reference/quantize_activations.hpp"
#include "pare/kernels/x86/quotient.hpp"
#include "pare/kernels/x86/streaming.hpp"

/// Codes are equal bit by bit to the reference's: see kernels/x86/quotient.hpp. Scales without
/// exact quotients and the rest of a row beyond whole vectors go to the reference.
namespace pare::kernels::avx2 {

PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i larger_magnitude(__m256i a, const float* x) noexcept {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  return _mm256_max_epi32(a, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
}

PARE_TARGET_AVX2 inline float absmax(const float* x, Index count) noexcept {
  __m256i a = _mm256_setzero_si256(), b = a;
  Index i = 0;
  for (; i + 32 <= count; i += 32) {
    prefetch_half(x, count, 0, i);
    a = larger_magnitude(a, x + i);
    b = larger_magnitude(b, x + i + 8);
    a = larger_magnitude(a, x + i + 16);
    b = larger_magnitude(b, x + i + 24);
  }
  alignas(32) float lanes[9];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), _mm256_max_epi32(a, b));
  lanes[8] = reference::absmax(x + i, count - i);
  return reference::absmax(lanes, 9);
}

/// Codes of a scale that covers every value: neither clipped nor shifted.
struct CoveringCodes {
  Divisor scale;

  PARE_TARGET_AVX2 PARE_FORCE_INLINE explicit CoveringCodes(const ActivationParameters& p) noexcept
      : scale(make_divisor(p.scale)) {}
  PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i operator()(const float* x) const noexcept {
    return _mm256_cvtps_epi32(quotient(_mm256_loadu_ps(x), scale));
  }
};

/// Values beyond 512 scales count as so many, for no product may overflow; they are clipped anyway.
struct ClippedCodes {
  Divisor scale;
  __m256 limit;
  __m256i zero_point, lowest;

  PARE_TARGET_AVX2 PARE_FORCE_INLINE explicit ClippedCodes(const ActivationParameters& p) noexcept
      : scale(make_divisor(p.scale)),
        limit(_mm256_set1_ps(512.0f * p.scale)),
        zero_point(_mm256_set1_epi32(p.zero_point)),
        lowest(_mm256_set1_epi32(p.lowest_code)) {}
  PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i operator()(const float* x) const noexcept {
    const __m256 near = limited(_mm256_loadu_ps(x), limit);
    const __m256i level = _mm256_cvtps_epi32(quotient(near, scale));
    return _mm256_max_epi32(_mm256_add_epi32(level, zero_point), lowest);
  }
};

/// Narrowing saturates, which clips at 127.
template <class Codes>
PARE_TARGET_AVX2 void quantize_row(const float* x, Index count, const ActivationParameters& p,
                                   std::int8_t* codes) noexcept {
  const Codes code(p);
  // Packing works in halves of a register: half h holds dwords 2h and 2h + 1 of the four inputs.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  Index i = 0;
  for (; i + 32 <= count; i += 32) {
    prefetch_half(x, count, 1, i);
    const __m256i ab = _mm256_packs_epi32(code(x + i), code(x + i + 8));
    const __m256i cd = _mm256_packs_epi32(code(x + i + 16), code(x + i + 24));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i),
                        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), order));
  }
  reference::quantize_row(x + i, count - i, p, codes + i);
}

PARE_TARGET_AVX2 inline void quantize_row(const float* x, Index count,
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
PARE_TARGET_AVX2 inline std::int32_t sum(const std::int8_t* codes, Index count) noexcept {
  __m256i sums = _mm256_setzero_si256();
  Index i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i bytes = _mm256_add_epi8(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i)), _mm256_set1_epi8(-128));
    sums = _mm256_add_epi64(sums, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
  }
  const __m128i two =
      _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  const long long total = _mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1);
  return static_cast<std::int32_t>(total - 128 * i) + reference::sum(codes + i, count - i);
}

inline constexpr ActivationKernel activation_kernel{&absmax, &quantize_row, &sum,
                                                    &reference::gather};

}  // namespace pare::kernels::avx2
