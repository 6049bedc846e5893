#pragma once

#include <immintrin.h>

#include <cmath>
#include <utility>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/gemm.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels::avx512 {

/// What the product needs of a 512-bit register of T. A transpose collects `pieces` of 128 bits,
/// `columns` elements, of every `columns`-th row from memory, which costs no shuffle;
/// `store_columns` transposes inside them. Unpack, extract and convert are written with a
/// full mask, which costs nothing: g++ 12 warns about the undefined operand of their plain forms.
template <class T>
struct GemmVector;

template <>
struct GemmVector<float> {
  using Register = __m512;
  static constexpr Index lanes = 16, columns = 4;

  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register zero() { return _mm512_setzero_ps(); }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register load(const float* p) {
    return _mm512_loadu_ps(p);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register broadcast(float x) {
    return _mm512_set1_ps(x);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void store(float* p, Register x) {
    _mm512_storeu_ps(p, x);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register fma(Register a, Register b, Register c) {
    return _mm512_fmadd_ps(a, b, c);
  }
  /// p[i] += alpha x[i]
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void add(float* p, float alpha, Register x) {
    store(p, fma(broadcast(alpha), x, load(p)));
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void add(double* p, float alpha, Register x) {
    x = _mm512_mul_ps(broadcast(alpha), x);
    constexpr __mmask8 full = 0xff;
    const __m512d pairs = _mm512_castps_pd(x);
    const __m256 lower = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(full, pairs, 0));
    const __m256 upper = _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(full, pairs, 1));
    const __m512d low = _mm512_maskz_cvtps_pd(full, lower);
    const __m512d high = _mm512_maskz_cvtps_pd(full, upper);
    _mm512_storeu_pd(p, _mm512_add_pd(_mm512_loadu_pd(p), low));
    _mm512_storeu_pd(p + 8, _mm512_add_pd(_mm512_loadu_pd(p + 8), high));
  }
  /// Four elements of each of the rows 0, 4, 8 and 12.
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register pieces(const float* src, Index stride) {
    Register x = _mm512_castps128_ps512(_mm_loadu_ps(src));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(src + 4 * stride), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(src + 8 * stride), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(src + 12 * stride), 3);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void store_columns(const Register (&rows)[columns],
                                                                 float* dst, Index dst_stride) {
    constexpr __mmask16 full = 0xffff;
    const Register lo01 = _mm512_maskz_unpacklo_ps(full, rows[0], rows[1]),
                   hi01 = _mm512_maskz_unpackhi_ps(full, rows[0], rows[1]);
    const Register lo23 = _mm512_maskz_unpacklo_ps(full, rows[2], rows[3]),
                   hi23 = _mm512_maskz_unpackhi_ps(full, rows[2], rows[3]);
    store(dst, _mm512_shuffle_ps(lo01, lo23, 0x44));
    store(dst + dst_stride, _mm512_shuffle_ps(lo01, lo23, 0xee));
    store(dst + 2 * dst_stride, _mm512_shuffle_ps(hi01, hi23, 0x44));
    store(dst + 3 * dst_stride, _mm512_shuffle_ps(hi01, hi23, 0xee));
  }
};

template <>
struct GemmVector<double> {
  using Register = __m512d;
  static constexpr Index lanes = 8, columns = 2;

  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register zero() { return _mm512_setzero_pd(); }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register load(const double* p) {
    return _mm512_loadu_pd(p);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register broadcast(double x) {
    return _mm512_set1_pd(x);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void store(double* p, Register x) {
    _mm512_storeu_pd(p, x);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register fma(Register a, Register b, Register c) {
    return _mm512_fmadd_pd(a, b, c);
  }
  /// p[i] += alpha x[i]
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void add(double* p, double alpha, Register x) {
    store(p, fma(broadcast(alpha), x, load(p)));
  }
  /// Two elements of each of the rows 0, 2, 4 and 6.
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register pieces(const double* src, Index stride) {
    Register x = _mm512_castpd128_pd512(_mm_loadu_pd(src));
    x = _mm512_insertf64x2(x, _mm_loadu_pd(src + 2 * stride), 1);
    x = _mm512_insertf64x2(x, _mm_loadu_pd(src + 4 * stride), 2);
    return _mm512_insertf64x2(x, _mm_loadu_pd(src + 6 * stride), 3);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void store_columns(const Register (&rows)[columns],
                                                                 double* dst, Index dst_stride) {
    constexpr __mmask8 full = 0xff;
    store(dst, _mm512_maskz_unpacklo_pd(full, rows[0], rows[1]));
    store(dst + dst_stride, _mm512_maskz_unpackhi_pd(full, rows[0], rows[1]));
  }
};

/// c (Rows, 2 registers) += alpha a b with every sum in a register.
template <class T, class C, int Rows>
PARE_TARGET_AVX512 void gemm_tile(Index depth, T alpha, const T* a, const T* b, C* c,
                                  Index c_stride, GemmAhead ahead) noexcept {
  using V = GemmVector<T>;
  typename V::Register sum[Rows][2];
  PARE_UNROLL
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = V::zero();
  const C* row_of_c = c;
  for (int r = 0; r < Rows; ++r, row_of_c += c_stride) {
    _mm_prefetch(reinterpret_cast<const char*>(row_of_c), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(row_of_c + V::lanes), _MM_HINT_T0);
  }
  constexpr Index soon = 8;  // terms
  for (Index k = 0; k < depth; ++k, b += 2 * V::lanes) {
    _mm_prefetch(reinterpret_cast<const char*>(b + soon * 2 * V::lanes), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(b + soon * 2 * V::lanes + V::lanes), _MM_HINT_T0);
    if (k % GemmAhead::panel_interval == 0) {
      _mm_prefetch(ahead.panel, _MM_HINT_T1);
      ahead.panel += GemmAhead::line_bytes;
    }
    if ((k & ahead.mask) == 0) {
      _mm_prefetch(ahead.first, _MM_HINT_T1);
      _mm_prefetch(ahead.first + GemmAhead::line_bytes, _MM_HINT_T1);
      ahead.first += ahead.stride_bytes;
    }
    const typename V::Register b0 = V::load(b), b1 = V::load(b + V::lanes);
    PARE_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const typename V::Register x = V::broadcast(a[r * gemm_depth<T> + k]);
      sum[r][0] = V::fma(x, b0, sum[r][0]);
      sum[r][1] = V::fma(x, b1, sum[r][1]);
    }
  }
  PARE_UNROLL
  for (int r = 0; r < Rows; ++r) {
    V::add(c + r * c_stride, alpha, sum[r][0]);
    V::add(c + r * c_stride + V::lanes, alpha, sum[r][1]);
  }
}

/// c (rows, cols) += alpha sums. Rows further down are on their way from memory meanwhile.
template <class T>
PARE_TARGET_AVX512 void gemm_add_rows(Index rows, Index cols, T alpha, const T* sums,
                                      Index sums_stride, T* c, Index c_stride) noexcept {
  using V = GemmVector<T>;
  constexpr Index rows_ahead = 4, line = GemmAhead::line_bytes / static_cast<Index>(sizeof(T));
  for (Index i = 0; i < rows; ++i, sums += sums_stride, c += c_stride) {
    if (i + rows_ahead < rows)
      for (Index j = 0; j < cols; j += line)
        _mm_prefetch(reinterpret_cast<const char*>(c + rows_ahead * c_stride + j), _MM_HINT_T0);
    Index j = 0;
    for (; j + V::lanes <= cols; j += V::lanes) V::add(c + j, alpha, V::load(sums + j));
    for (; j < cols; ++j) c[j] = std::fma(alpha, sums[j], c[j]);
  }
}

/// The transpose of `lanes` rows. Whole cache lines at a time, and each of them only once: often
/// the rows lie in the same few places of the cache, which cannot hold them all.
template <class T>
PARE_TARGET_AVX512 void gemm_transpose(Index cols, const T* src, Index src_stride, T* dst,
                                       Index dst_stride) noexcept {
  using V = GemmVector<T>;
  constexpr int columns = V::columns, parts = V::lanes / columns;
  Index j = 0;
  for (; j + V::lanes <= cols; j += V::lanes) {
    typename V::Register rows[parts][columns];
    PARE_UNROLL
    for (int r = 0; r < columns; ++r) {
      PARE_UNROLL
      for (int p = 0; p < parts; ++p)
        rows[p][r] = V::pieces(src + j + r * src_stride + p * columns, src_stride);
    }
    PARE_UNROLL
    for (int p = 0; p < parts; ++p)
      V::store_columns(rows[p], dst + (j + p * columns) * dst_stride, dst_stride);
  }
  for (; j + columns <= cols; j += columns) {
    typename V::Register rows[columns];
    PARE_UNROLL
    for (int r = 0; r < columns; ++r) rows[r] = V::pieces(src + j + r * src_stride, src_stride);
    V::store_columns(rows, dst + j * dst_stride, dst_stride);
  }
  for (; j < cols; ++j)
    for (Index i = 0; i < V::lanes; ++i) dst[j * dst_stride + i] = src[i * src_stride + j];
}

template <class T, class C, int... Heights>
[[nodiscard]] constexpr GemmKernel<T, C> gemm_kernel(
    std::integer_sequence<int, Heights...>) noexcept {
  return {2 * GemmVector<T>::lanes, sizeof...(Heights),   {{gemm_tile<T, C, Heights + 1>...}},
          gemm_add_rows<T>,         GemmVector<T>::lanes, gemm_transpose<T>};
}

/// 14 x 2 sums, two registers of B and one of A are 31 of the 32.
template <class T, class C>
[[nodiscard]] constexpr GemmKernel<T, C> gemm_kernel() noexcept {
  return gemm_kernel<T, C>(std::make_integer_sequence<int, 14>());
}

}  // namespace pare::kernels::avx512
