#pragma once

#include <limits>

#include "pare/kernels/reference/elementwise.hpp"
#include "pare/kernels/x86/avx2/quantize_activations.hpp"
#include "pare/kernels/x86/quotient.hpp"
#include "pare/kernels/x86/streaming.hpp"

/// Operations are a source of 8 results from element i on, and a loop that writes whole vectors of
/// them. What lies before (when stores stream) and after goes to the reference.
namespace pare::kernels::avx2 {

/// Writes from element `i` on and returns the first that it left.
template <class Source>
PARE_TARGET_AVX2 PARE_FORCE_INLINE Index write_floats(Source& source, Index i, Index count,
                                                      Store store, float* y) noexcept {
  if (store == Store::streaming) {
    for (; i + 8 <= count; i += 8) _mm256_stream_ps(y + i, source(i));
  }
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(y + i, source(i));
  return i;
}

/// The low byte of each of 32 results.
template <class Source>
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i low_bytes(const Source& source, Index i) noexcept {
  const __m256i low = _mm256_set1_epi32(0xff);
  const __m256i a = _mm256_and_si256(source(i), low), b = _mm256_and_si256(source(i + 8), low);
  const __m256i c = _mm256_and_si256(source(i + 16), low),
                d = _mm256_and_si256(source(i + 24), low);
  const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// Whether all numbers seen are finite. On bits, so that -ffast-math cannot remove the test.
struct FiniteCheck {
  __m256i largest;

  PARE_TARGET_AVX2 PARE_FORCE_INLINE FiniteCheck() noexcept : largest(_mm256_setzero_si256()) {}
  PARE_TARGET_AVX2 PARE_FORCE_INLINE void see(__m256 x) noexcept {
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(x), magnitude));
  }
  [[nodiscard]] PARE_TARGET_AVX2 PARE_FORCE_INLINE bool passed() const noexcept {
    const __m256i beyond = _mm256_cmpgt_epi32(largest, _mm256_set1_epi32(0x7f7fffff));
    return _mm256_testz_si256(beyond, beyond) != 0;
  }
};

/// Range of what lies in the lanes of `lo` and `hi`.
PARE_TARGET_AVX2 PARE_FORCE_INLINE Range reduce(__m256 lo, __m256 hi) noexcept {
  // The lower half reduces hi, the upper one -lo.
  const __m256 negated = _mm256_sub_ps(_mm256_setzero_ps(), lo);
  __m256 v = _mm256_max_ps(_mm256_permute2f128_ps(hi, negated, 0x20),
                           _mm256_permute2f128_ps(hi, negated, 0x31));
  v = _mm256_max_ps(v, _mm256_permute_ps(v, 0x4e));
  v = _mm256_max_ps(v, _mm256_permute_ps(v, 0xb1));
  return {-_mm_cvtss_f32(_mm256_extractf128_ps(v, 1)), _mm_cvtss_f32(_mm256_castps256_ps128(v))};
}

PARE_TARGET_AVX2 inline Range range(const float* x, Index count) noexcept {
  const __m256 first = _mm256_set1_ps(x[0]);
  __m256 lo[2] = {first, first}, hi[2] = {first, first};
  FiniteCheck check;
  Index i = 0;
  for (; i + 32 <= count; i += 32) {
    prefetch_half(x, count, 0, i);
    PARE_UNROLL
    for (int k = 0; k < 4; ++k) {
      const __m256 v = _mm256_loadu_ps(x + i + 8 * k);
      lo[k % 2] = _mm256_min_ps(lo[k % 2], v);
      hi[k % 2] = _mm256_max_ps(hi[k % 2], v);
      check.see(v);
    }
  }
  for (; i < count; ++i) {
    const __m256 v = _mm256_set1_ps(x[i]);
    lo[0] = _mm256_min_ps(lo[0], v);
    hi[0] = _mm256_max_ps(hi[0], v);
    check.see(v);
  }
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  if (!check.passed()) return {nan, nan};
  return reduce(_mm256_min_ps(lo[0], lo[1]), _mm256_max_ps(hi[0], hi[1]));
}

struct Encoded {
  const float* x;
  Divisor scale;
  __m256 limit;
  __m256i zero_point, lo, hi;

  PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i operator()(Index i) const noexcept {
    const __m256 v = limited(_mm256_loadu_ps(x + i), limit);
    const __m256i level = _mm256_cvtps_epi32(quotient(v, scale));
    return _mm256_min_epi32(_mm256_max_epi32(_mm256_add_epi32(level, zero_point), lo), hi);
  }
};

PARE_TARGET_AVX2 inline void encode(const float* x, Index count, const EncodeParameters& p,
                                    Store store, std::uint8_t* codes) noexcept {
  if (!has_exact_quotients(p.scale)) return reference::encode(x, count, p, store, codes);
  // Beyond 512 scales everything is clipped, and no product may overflow.
  const Encoded source{x,
                       make_divisor(p.scale),
                       _mm256_set1_ps(512.0f * p.scale),
                       _mm256_set1_epi32(p.zero_point),
                       _mm256_set1_epi32(p.lo),
                       _mm256_set1_epi32(p.hi)};
  const bool streams = store == Store::streaming;
  const Index head = streams ? unaligned_head(codes, 32, count) : 0;
  reference::encode(x, head, p, store, codes);
  Index i = head;
  for (; i + 32 <= count; i += 32) {
    prefetch_half(x, count, 1, i);
    const auto place = reinterpret_cast<__m256i*>(codes + i);
    if (streams)
      _mm256_stream_si256(place, low_bytes(source, i));
    else
      _mm256_storeu_si256(place, low_bytes(source, i));
  }
  reference::encode(x + i, count - i, p, store, codes + i);
}

template <bool Signed>
struct Decoded {
  const std::uint8_t* codes;
  __m256 scale;
  __m256i zero_point;

  PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 operator()(Index i) const noexcept {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i));
    const __m256i code = Signed ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(code, zero_point)), scale);
  }
};

template <bool Signed>
PARE_TARGET_AVX2 void decode(const std::uint8_t* codes, Index count, const DecodeParameters& p,
                             Store store, float* y) noexcept {
  const Decoded<Signed> source{codes, _mm256_set1_ps(p.scale), _mm256_set1_epi32(p.zero_point)};
  const Index head = store == Store::streaming ? unaligned_head(y, 32, count) : 0;
  const Index done = write_floats(source, head, count, store, y);
  reference::decode(codes, head, p, store, y);
  reference::decode(codes + done, count - done, p, store, y + done);
}

PARE_TARGET_AVX2 inline void decode(const std::uint8_t* codes, Index count,
                                    const DecodeParameters& p, Store store, float* y) noexcept {
  if (p.is_signed)
    decode<true>(codes, count, p, store, y);
  else
    decode<false>(codes, count, p, store, y);
}

template <QuotientPolicy Policy>
struct FakeQuantized {
  const float* x;
  Divisor scale;
  __m256 limit, lo, hi;
  FiniteCheck check{};

  PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256 operator()(Index i) noexcept {
    prefetch(x + i + prefetch_distance);
    const __m256 v = _mm256_loadu_ps(x + i);
    check.see(v);
    const __m256 q = Policy == QuotientPolicy::divide ? quotient(limited(v, limit), scale)
                                                      : _mm256_mul_ps(v, scale.reciprocal);
    // Through integers: zeros lose their sign.
    const __m256i level = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(q, lo), hi));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(level), scale.value);
  }
};

template <QuotientPolicy Policy>
PARE_TARGET_AVX2 bool fake_quantize(const float* x, Index count, const FakeParameters& p,
                                    Store store, float* y) noexcept {
  FakeQuantized<Policy> source{x, make_divisor(p.scale), _mm256_set1_ps(0x1p22f * p.scale),
                               _mm256_set1_ps(static_cast<float>(p.lo)),
                               _mm256_set1_ps(static_cast<float>(p.hi))};
  const Index head = store == Store::streaming ? unaligned_head(y, 32, count) : 0;
  const bool head_is_finite = reference::fake_quantize(x, head, p, store, y);
  const Index done = write_floats(source, head, count, store, y);
  return reference::fake_quantize(x + done, count - done, p, store, y + done) && head_is_finite &&
         source.check.passed();
}

PARE_TARGET_AVX2 inline bool fake_quantize(const float* x, Index count, const FakeParameters& p,
                                           Store store, float* y) noexcept {
  if (p.quotient == QuotientPolicy::reciprocal)
    return fake_quantize<QuotientPolicy::reciprocal>(x, count, p, store, y);
  if (has_exact_quotients(p.scale))
    return fake_quantize<QuotientPolicy::divide>(x, count, p, store, y);
  return reference::fake_quantize(x, count, p, store, y);
}

inline constexpr ElementwiseKernel elementwise_kernel{&absmax, &range, &encode, &decode,
                                                      &fake_quantize};

}  // namespace pare::kernels::avx2
