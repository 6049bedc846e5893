#pragma once

#include <immintrin.h>

#include <cmath>
#include <utility>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/gemm.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels::avx2 {

/// What the product needs of a 256-bit register of T. `transpose_columns` writes the first
/// `columns` columns of `lanes` rows as rows: it collects pieces of 128 bits from memory, which
/// costs no shuffle, and transposes inside them.
template <class T>
struct GemmVector;

template <>
struct GemmVector<float> {
  using Register = __m256;
  static constexpr Index lanes = 8, columns = 4;

  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register zero() { return _mm256_setzero_ps(); }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register load(const float* p) {
    return _mm256_loadu_ps(p);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register broadcast(float x) {
    return _mm256_set1_ps(x);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE void store(float* p, Register x) {
    _mm256_storeu_ps(p, x);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register fma(Register a, Register b, Register c) {
    return _mm256_fmadd_ps(a, b, c);
  }
  /// p[i] += alpha x[i]
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE void add(float* p, float alpha, Register x) {
    store(p, fma(broadcast(alpha), x, load(p)));
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE void add(double* p, float alpha, Register x) {
    x = _mm256_mul_ps(broadcast(alpha), x);
    const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(x));
    const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    _mm256_storeu_pd(p, _mm256_add_pd(_mm256_loadu_pd(p), low));
    _mm256_storeu_pd(p + 4, _mm256_add_pd(_mm256_loadu_pd(p + 4), high));
  }
  /// Four elements of each of the rows 0 and 4.
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register pieces(const float* src, Index stride) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src)),
                                _mm_loadu_ps(src + 4 * stride), 1);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE void transpose_columns(const float* src,
                                                                   Index src_stride, float* dst,
                                                                   Index dst_stride) {
    const Register r0 = pieces(src, src_stride), r1 = pieces(src + src_stride, src_stride);
    const Register r2 = pieces(src + 2 * src_stride, src_stride);
    const Register r3 = pieces(src + 3 * src_stride, src_stride);
    const Register lo01 = _mm256_unpacklo_ps(r0, r1), hi01 = _mm256_unpackhi_ps(r0, r1);
    const Register lo23 = _mm256_unpacklo_ps(r2, r3), hi23 = _mm256_unpackhi_ps(r2, r3);
    store(dst, _mm256_shuffle_ps(lo01, lo23, 0x44));
    store(dst + dst_stride, _mm256_shuffle_ps(lo01, lo23, 0xee));
    store(dst + 2 * dst_stride, _mm256_shuffle_ps(hi01, hi23, 0x44));
    store(dst + 3 * dst_stride, _mm256_shuffle_ps(hi01, hi23, 0xee));
  }
};

template <>
struct GemmVector<double> {
  using Register = __m256d;
  static constexpr Index lanes = 4, columns = 2;

  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register zero() { return _mm256_setzero_pd(); }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register load(const double* p) {
    return _mm256_loadu_pd(p);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register broadcast(double x) {
    return _mm256_set1_pd(x);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE void store(double* p, Register x) {
    _mm256_storeu_pd(p, x);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register fma(Register a, Register b, Register c) {
    return _mm256_fmadd_pd(a, b, c);
  }
  /// p[i] += alpha x[i]
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE void add(double* p, double alpha, Register x) {
    store(p, fma(broadcast(alpha), x, load(p)));
  }
  /// Two elements of each of the rows 0 and 2.
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE Register pieces(const double* src, Index stride) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(src)),
                                _mm_loadu_pd(src + 2 * stride), 1);
  }
  PARE_TARGET_AVX2 static PARE_FORCE_INLINE void transpose_columns(const double* src,
                                                                   Index src_stride, double* dst,
                                                                   Index dst_stride) {
    const Register r0 = pieces(src, src_stride), r1 = pieces(src + src_stride, src_stride);
    store(dst, _mm256_unpacklo_pd(r0, r1));
    store(dst + dst_stride, _mm256_unpackhi_pd(r0, r1));
  }
};

/// c (Rows, 2 registers) += alpha a b with every sum in a register.
template <class T, class C, int Rows>
PARE_TARGET_AVX2 void gemm_tile(Index depth, T alpha, const T* a, const T* b, C* c, Index c_stride,
                                GemmAhead ahead) noexcept {
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
PARE_TARGET_AVX2 void gemm_add_rows(Index rows, Index cols, T alpha, const T* sums,
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

/// The transpose of `lanes` rows.
template <class T>
PARE_TARGET_AVX2 void gemm_transpose(Index cols, const T* src, Index src_stride, T* dst,
                                     Index dst_stride) noexcept {
  using V = GemmVector<T>;
  Index j = 0;
  for (; j + V::columns <= cols; j += V::columns)
    V::transpose_columns(src + j, src_stride, dst + j * dst_stride, dst_stride);
  for (; j < cols; ++j)
    for (Index i = 0; i < V::lanes; ++i) dst[j * dst_stride + i] = src[i * src_stride + j];
}

template <class T, class C, int... Heights>
[[nodiscard]] constexpr GemmKernel<T, C> gemm_kernel(
    std::integer_sequence<int, Heights...>) noexcept {
  return {2 * GemmVector<T>::lanes, sizeof...(Heights),   {{gemm_tile<T, C, Heights + 1>...}},
          gemm_add_rows<T>,         GemmVector<T>::lanes, gemm_transpose<T>};
}

/// 6 x 2 sums, two registers of B and one of A are 15 of the 16.
template <class T, class C>
[[nodiscard]] constexpr GemmKernel<T, C> gemm_kernel() noexcept {
  return gemm_kernel<T, C>(std::make_integer_sequence<int, 6>());
}

}  // namespace pare::kernels::avx2
