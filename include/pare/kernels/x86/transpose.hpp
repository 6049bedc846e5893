#pragma once

#include <emmintrin.h>

#include <algorithm>
#include <cstring>

#include "pare/core/config.hpp"
#include "pare/kernels/reference/transpose.hpp"

/// SSE2 is part of x86-64: no target attribute, no choice at run time. See transpose.hpp.
///
/// Stores reach into what is written next; the last piece is left to the plain functions.
namespace pare::kernels::sse2 {

PARE_FORCE_INLINE __m128i load(const void* from) noexcept {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
PARE_FORCE_INLINE void store(void* to, __m128i value) noexcept {
  _mm_storeu_si128(static_cast<__m128i*>(to), value);
}

/// Four words of four rows, or of the last one again where there are fewer.
PARE_FORCE_INLINE void transpose_4x4(const char* in, Index stride_bytes, Index rows, char* out,
                                     Index out_stride_bytes) noexcept {
  const __m128i r0 = load(in), r1 = load(in + (rows > 1 ? 1 : 0) * stride_bytes);
  const __m128i r2 = load(in + std::min<Index>(2, rows - 1) * stride_bytes);
  const __m128i r3 = load(in + std::min<Index>(3, rows - 1) * stride_bytes);
  const __m128i a0 = _mm_unpacklo_epi32(r0, r1), a1 = _mm_unpackhi_epi32(r0, r1);
  const __m128i a2 = _mm_unpacklo_epi32(r2, r3), a3 = _mm_unpackhi_epi32(r2, r3);
  store(out, _mm_unpacklo_epi64(a0, a2));
  store(out + out_stride_bytes, _mm_unpackhi_epi64(a0, a2));
  store(out + 2 * out_stride_bytes, _mm_unpacklo_epi64(a1, a3));
  store(out + 3 * out_stride_bytes, _mm_unpackhi_epi64(a1, a3));
}

/// A row's cache line is used up at once: lines of rows that are a power of two apart compete for
/// one place. The last four rows overlap others.
inline void transpose_words(const void* rows, Index stride_bytes, Index count, Index columns,
                            void* out) noexcept {
  if (count == 1) {
    std::memcpy(out, rows, static_cast<std::size_t>(4 * columns));
    return;
  }
  constexpr Index line = 16;
  const auto* in = static_cast<const char*>(rows);
  auto* next = static_cast<char*>(out);
  // Quarters of exactly so many rows write nothing else.
  const Index lines = count % 4 == 0 ? columns / line : (columns - 1) / line;
  Index k = 0;
  for (; k < lines * line; k += line, in += 4 * line, next += 4 * line * count)
    for (Index t = 0; t < count; t += 4) {
      const Index first = std::max<Index>(0, std::min(t, count - 4));
      for (Index j = 0; j < line; j += 4)
        transpose_4x4(in + first * stride_bytes + 4 * j, stride_bytes, count - first,
                      next + 4 * (j * count + first), 4 * count);
    }
  reference::transpose_words(in, stride_bytes, count, columns - k, next);
}

/// Sixteen columns of eight rows, or of the last one again where there are fewer: three perfect
/// shuffles of 128 bytes.
PARE_FORCE_INLINE void transpose_8x16(const std::int8_t* in, Index stride, Index rows,
                                      std::int8_t* out, Index out_stride) noexcept {
  __m128i a[8], b[8];
  PARE_UNROLL
  for (int t = 0; t < 8; ++t) a[t] = load(in + std::min<Index>(t, rows - 1) * stride);
  PARE_UNROLL
  for (int round = 0; round < 3; ++round) {
    PARE_UNROLL
    for (int i = 0; i < 4; ++i) {
      b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 4]);
      b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 4]);
    }
    PARE_UNROLL
    for (int i = 0; i < 8; ++i) a[i] = b[i];
  }
  PARE_UNROLL
  for (int k = 0; k < 16; k += 2) {
    const __m128d two = _mm_castsi128_pd(a[k / 2]);
    const double low = _mm_cvtsd_f64(two), high = _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
    std::memcpy(out + k * out_stride, &low, sizeof(low));
    std::memcpy(out + (k + 1) * out_stride, &high, sizeof(high));
  }
}

inline void transpose_bytes(const std::int8_t* rows, Index stride, Index count, Index columns,
                            std::int8_t* out) noexcept {
  Index k = 0;
  for (; k + 16 + 8 <= columns; k += 16)
    for (Index t = 0; t < count; t += 8) {
      const Index first = std::max<Index>(0, std::min(t, count - 8));
      transpose_8x16(rows + first * stride + k, stride, count - first, out + k * count + first,
                     count);
    }
  reference::transpose_bytes(rows + k, stride, count, columns - k, out + k * count);
}

inline void gather_words(const void* rows, const std::int32_t* order, Index columns, Index count,
                         void* out) noexcept {
  if (count < 4) return reference::gather_words(rows, order, columns, count, out);
  const auto* in = static_cast<const char*>(rows);
  auto* next = static_cast<char*>(out);
  for (Index k = 0; k < columns; ++k, next += 4 * count) {
    const char* row = in + 4 * count * order[k];
    for (Index t = 0; t < count - 4; t += 4) store(next + 4 * t, load(row + 4 * t));
    store(next + 4 * (count - 4), load(row + 4 * (count - 4)));
  }
}

/// Vectors = ceil(count / 4)
template <int Vectors>
void gather_quads(const std::int8_t* rows, const std::int32_t* order, Index quads, Index count,
                  std::int8_t* out) noexcept {
  for (; quads > 1; --quads, order += 4, out += 4 * count) {
    const __m128i r0 = load(rows + order[0] * count), r1 = load(rows + order[1] * count);
    const __m128i r2 = load(rows + order[2] * count), r3 = load(rows + order[3] * count);
    const __m128i a = _mm_unpacklo_epi8(r0, r1), b = _mm_unpacklo_epi8(r2, r3);
    const __m128i c = _mm_unpackhi_epi8(r0, r1), d = _mm_unpackhi_epi8(r2, r3);
    store(out, _mm_unpacklo_epi16(a, b));
    if constexpr (Vectors > 1) store(out + 16, _mm_unpackhi_epi16(a, b));
    if constexpr (Vectors > 2) store(out + 32, _mm_unpacklo_epi16(c, d));
    if constexpr (Vectors > 3) store(out + 48, _mm_unpackhi_epi16(c, d));
  }
  reference::gather_quads(rows, order, quads, count, out);
}

inline void gather_quads(const std::int8_t* rows, const std::int32_t* order, Index quads,
                         Index count, std::int8_t* out) noexcept {
  if (count == 1) return reference::gather_quads(rows, order, quads, count, out);
  if (count <= 4) return gather_quads<1>(rows, order, quads, count, out);
  if (count <= 8) return gather_quads<2>(rows, order, quads, count, out);
  if (count <= 12) return gather_quads<3>(rows, order, quads, count, out);
  gather_quads<4>(rows, order, quads, count, out);
}

}  // namespace pare::kernels::sse2
