#pragma once

#include <limits>

#include "pare/kernels/reference/elementwise.hpp"
#include "pare/kernels/x86/avx512/quantize_activations.hpp"
#include "pare/kernels/x86/quotient.hpp"
#include "pare/kernels/x86/streaming.hpp"

/// Operations that give floats are a source of 16 results from element i on, and one loop that
/// writes them. Streaming stores write whole cache lines.
namespace pare::kernels::avx512 {

template <class Source>
PARE_TARGET_AVX512 PARE_FORCE_INLINE void write_floats(Source& source, Index count, Store store,
                                                       float* y) noexcept {
  constexpr __mmask16 every = 0xffff;
  Index i = 0;
  if (store == Store::streaming) {
    i = unaligned_head(y, 64, count);
    const __mmask16 head = first_lanes(i);
    _mm512_mask_storeu_ps(y, head, source(0, head));
    for (; i + 16 <= count; i += 16) _mm512_stream_ps(y + i, source(i, every));
  }
  for (; i + 16 <= count; i += 16) _mm512_storeu_ps(y + i, source(i, every));
  const __mmask16 tail = first_lanes(count - i);
  _mm512_mask_storeu_ps(y + i, tail, source(i, tail));
}

/// Whether all numbers seen are finite. On bits, so that -ffast-math cannot remove the test.
struct FiniteCheck {
  __m512i largest;

  PARE_TARGET_AVX512 PARE_FORCE_INLINE FiniteCheck() noexcept : largest(_mm512_setzero_si512()) {}
  PARE_TARGET_AVX512 PARE_FORCE_INLINE void see(__m512 x) noexcept {
    largest = larger(largest, magnitude_bits(x));
  }
  [[nodiscard]] PARE_TARGET_AVX512 PARE_FORCE_INLINE bool passed() const noexcept {
    return _mm512_cmpge_epi32_mask(largest, _mm512_set1_epi32(0x7f800000)) == 0;
  }
};

/// Range of what lies in the lanes of `lo` and `hi`.
PARE_TARGET_AVX512 PARE_FORCE_INLINE Range reduce(__m512 lo, __m512 hi) noexcept {
  constexpr __mmask16 every = 0xffff;
  // The lower half reduces hi, the upper one -lo.
  const __m512 negated = _mm512_sub_ps(_mm512_setzero_ps(), lo);
  __m512 v = _mm512_maskz_max_ps(every, _mm512_maskz_shuffle_f32x4(every, hi, negated, 0x44),
                                 _mm512_maskz_shuffle_f32x4(every, hi, negated, 0xee));
  v = _mm512_maskz_max_ps(every, v, _mm512_maskz_shuffle_f32x4(every, v, v, 0xb1));
  v = _mm512_maskz_max_ps(every, v, _mm512_maskz_permute_ps(every, v, 0x4e));
  v = _mm512_maskz_max_ps(every, v, _mm512_maskz_permute_ps(every, v, 0xb1));
  return {-_mm_cvtss_f32(_mm512_maskz_extractf32x4_ps(0xf, v, 2)),
          _mm_cvtss_f32(_mm512_maskz_extractf32x4_ps(0xf, v, 0))};
}

PARE_TARGET_AVX512 inline Range range(const float* x, Index count) noexcept {
  constexpr __mmask16 every = 0xffff;
  const __m512 first = _mm512_set1_ps(x[0]);
  __m512 lo[2] = {first, first}, hi[2] = {first, first};
  FiniteCheck check;
  Index i = 0;
  for (; i + 64 <= count; i += 64) {
    prefetch_half(x, count, 0, i);
    prefetch_half(x, count, 0, i + 32);
    PARE_UNROLL
    for (int k = 0; k < 4; ++k) {
      const __m512 v = _mm512_loadu_ps(x + i + 16 * k);
      lo[k % 2] = _mm512_maskz_min_ps(every, lo[k % 2], v);
      hi[k % 2] = _mm512_maskz_max_ps(every, hi[k % 2], v);
      check.see(v);
    }
  }
  for (; i < count; i += 16) {
    const __m512 v = _mm512_mask_loadu_ps(first, first_lanes(count - i), x + i);
    lo[0] = _mm512_maskz_min_ps(every, lo[0], v);
    hi[0] = _mm512_maskz_max_ps(every, hi[0], v);
    check.see(v);
  }
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  if (!check.passed()) return {nan, nan};
  return reduce(_mm512_maskz_min_ps(every, lo[0], lo[1]), _mm512_maskz_max_ps(every, hi[0], hi[1]));
}

struct Encoder {
  Divisor scale;
  __m512 limit;
  __m512i zero_point, lo, hi;  // of 32 16-bit numbers

  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i levels(__m512 x) const noexcept {
    return _mm512_maskz_cvtps_epi32(0xffff, quotient(limited(x, limit), scale));
  }
  /// The bytes of 32 codes, each in 16 bits.
  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i codes(__m512i a, __m512i b) const noexcept {
    const __m512i shifted = _mm512_add_epi16(_mm512_packs_epi32(a, b), zero_point);
    const __m512i clipped = _mm512_min_epi16(_mm512_max_epi16(shifted, lo), hi);
    return _mm512_and_si512(clipped, _mm512_set1_epi16(0xff));
  }
  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i operator()(__m512 a, __m512 b, __m512 c,
                                                          __m512 d) const noexcept {
    const __m512i ab = codes(levels(a), levels(b)), cd = codes(levels(c), levels(d));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_maskz_permutexvar_epi32(0xffff, order, _mm512_packus_epi16(ab, cd));
  }
  /// Fewer than 64.
  PARE_TARGET_AVX512 PARE_FORCE_INLINE void some(const float* x, Index count,
                                                 std::uint8_t* y) const noexcept {
    const __m512 a = _mm512_maskz_loadu_ps(first_lanes(count), x);
    const __m512 b = _mm512_maskz_loadu_ps(first_lanes(count - 16), x + 16);
    const __m512 c = _mm512_maskz_loadu_ps(first_lanes(count - 32), x + 32);
    const __m512 d = _mm512_maskz_loadu_ps(first_lanes(count - 48), x + 48);
    _mm512_mask_storeu_epi8(y, (__mmask64{1} << count) - 1, (*this)(a, b, c, d));
  }
};

PARE_TARGET_AVX512 inline void encode(const float* x, Index count, const EncodeParameters& p,
                                      Store store, std::uint8_t* codes) noexcept {
  if (!has_exact_quotients(p.scale)) return reference::encode(x, count, p, store, codes);
  // Beyond 512 scales everything is clipped, and no product may overflow.
  const Encoder encoder{make_divisor(p.scale), _mm512_set1_ps(512.0f * p.scale),
                        _mm512_set1_epi16(static_cast<short>(p.zero_point)),
                        _mm512_set1_epi16(static_cast<short>(p.lo)),
                        _mm512_set1_epi16(static_cast<short>(p.hi))};
  const bool streams = store == Store::streaming;
  Index i = streams ? unaligned_head(codes, 64, count) : 0;
  if (i > 0) encoder.some(x, i, codes);
  for (; i + 64 <= count; i += 64) {
    prefetch_half(x, count, 1, i);
    prefetch_half(x, count, 1, i + 32);
    const __m512i result = encoder(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16),
                                   _mm512_loadu_ps(x + i + 32), _mm512_loadu_ps(x + i + 48));
    if (streams)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(codes + i), result);
    else
      _mm512_storeu_si512(codes + i, result);
  }
  if (i < count) encoder.some(x + i, count - i, codes + i);
}

template <bool Signed>
struct Decoded {
  const std::uint8_t* codes;
  __m512 scale;
  __m512i zero_point;

  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 operator()(Index i, __mmask16 lanes) const noexcept {
    const __m128i bytes = _mm_maskz_loadu_epi8(lanes, codes + i);
    const __m512i code = Signed ? _mm512_maskz_cvtepi8_epi32(0xffff, bytes)
                                : _mm512_maskz_cvtepu8_epi32(0xffff, bytes);
    const __m512i level = _mm512_sub_epi32(code, zero_point);
    return _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xffff, level), scale);
  }
};

PARE_TARGET_AVX512 inline void decode(const std::uint8_t* codes, Index count,
                                      const DecodeParameters& p, Store store, float* y) noexcept {
  const __m512 scale = _mm512_set1_ps(p.scale);
  const __m512i zero_point = _mm512_set1_epi32(p.zero_point);
  if (p.is_signed) {
    const Decoded<true> source{codes, scale, zero_point};
    write_floats(source, count, store, y);
  } else {
    const Decoded<false> source{codes, scale, zero_point};
    write_floats(source, count, store, y);
  }
}

template <QuotientPolicy Policy>
struct FakeQuantized {
  const float* x;
  Divisor scale;
  __m512 limit, lo, hi;
  FiniteCheck check{};

  PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512 operator()(Index i, __mmask16 lanes) noexcept {
    prefetch(x + i + prefetch_distance);
    const __m512 v = _mm512_maskz_loadu_ps(lanes, x + i);
    check.see(v);
    const __m512 q = Policy == QuotientPolicy::divide ? quotient(limited(v, limit), scale)
                                                      : _mm512_mul_ps(v, scale.reciprocal);
    const __m512 inside = _mm512_maskz_min_ps(0xffff, _mm512_maskz_max_ps(0xffff, q, lo), hi);
    // Through integers: zeros lose their sign.
    const __m512i level = _mm512_maskz_cvtps_epi32(0xffff, inside);
    return _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xffff, level), scale.value);
  }
};

template <QuotientPolicy Policy>
PARE_TARGET_AVX512 bool fake_quantize(const float* x, Index count, const FakeParameters& p,
                                      Store store, float* y) noexcept {
  FakeQuantized<Policy> source{x, make_divisor(p.scale), _mm512_set1_ps(0x1p22f * p.scale),
                               _mm512_set1_ps(static_cast<float>(p.lo)),
                               _mm512_set1_ps(static_cast<float>(p.hi))};
  write_floats(source, count, store, y);
  return source.check.passed();
}

PARE_TARGET_AVX512 inline bool fake_quantize(const float* x, Index count, const FakeParameters& p,
                                             Store store, float* y) noexcept {
  if (p.quotient == QuotientPolicy::reciprocal)
    return fake_quantize<QuotientPolicy::reciprocal>(x, count, p, store, y);
  if (has_exact_quotients(p.scale))
    return fake_quantize<QuotientPolicy::divide>(x, count, p, store, y);
  return reference::fake_quantize(x, count, p, store, y);
}

inline constexpr ElementwiseKernel elementwise_kernel{&absmax, &range, &encode, &decode,
                                                      &fake_quantize};

}  // namespace pare::kernels::avx512
