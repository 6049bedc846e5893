#pragma once

#include <immintrin.h>

#include "pare/core/config.hpp"
#include "pare/kernels/gemm_kernel.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels::avx512 {

/// What the product needs of a 512-bit register of T. `transpose_columns` writes the first
/// `columns` columns of `lanes` rows as rows: it collects pieces of 128 bits from memory, which
/// costs no shuffle, and transposes inside them. The unpack instructions are written with a full
/// mask, which costs nothing: g++ 12 warns about the undefined operand of their plain forms.
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
  /// Four elements of each of the rows 0, 4, 8 and 12.
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register pieces(const float* src, Index stride) {
    Register x = _mm512_castps128_ps512(_mm_loadu_ps(src));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(src + 4 * stride), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(src + 8 * stride), 2);
    return _mm512_insertf32x4(x, _mm_loadu_ps(src + 12 * stride), 3);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void transpose_columns(const float* src,
                                                                     Index src_stride, float* dst,
                                                                     Index dst_stride) {
    const Register r0 = pieces(src, src_stride), r1 = pieces(src + src_stride, src_stride);
    const Register r2 = pieces(src + 2 * src_stride, src_stride);
    const Register r3 = pieces(src + 3 * src_stride, src_stride);
    constexpr __mmask16 full = 0xffff;
    const Register lo01 = _mm512_maskz_unpacklo_ps(full, r0, r1),
                   hi01 = _mm512_maskz_unpackhi_ps(full, r0, r1);
    const Register lo23 = _mm512_maskz_unpacklo_ps(full, r2, r3),
                   hi23 = _mm512_maskz_unpackhi_ps(full, r2, r3);
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
  /// Two elements of each of the rows 0, 2, 4 and 6.
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE Register pieces(const double* src, Index stride) {
    Register x = _mm512_castpd128_pd512(_mm_loadu_pd(src));
    x = _mm512_insertf64x2(x, _mm_loadu_pd(src + 2 * stride), 1);
    x = _mm512_insertf64x2(x, _mm_loadu_pd(src + 4 * stride), 2);
    return _mm512_insertf64x2(x, _mm_loadu_pd(src + 6 * stride), 3);
  }
  PARE_TARGET_AVX512 static PARE_FORCE_INLINE void transpose_columns(const double* src,
                                                                     Index src_stride, double* dst,
                                                                     Index dst_stride) {
    const Register r0 = pieces(src, src_stride), r1 = pieces(src + src_stride, src_stride);
    constexpr __mmask8 full = 0xff;
    store(dst, _mm512_maskz_unpacklo_pd(full, r0, r1));
    store(dst + dst_stride, _mm512_maskz_unpackhi_pd(full, r0, r1));
  }
};

/// c (Rows, 2 registers) += alpha a b with every sum in a register.
template <class T, int Rows>
PARE_TARGET_AVX512 void gemm_tile(Index depth, T alpha, const T* a, const T* b, T* c,
                                  Index c_stride) noexcept {
  using V = GemmVector<T>;
  typename V::Register sum[Rows][2];
  PARE_UNROLL
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = V::zero();
  for (Index k = 0; k < depth; ++k, b += 2 * V::lanes) {
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
    T* row = c + r * c_stride;
    V::store(row, V::fma(V::broadcast(alpha), sum[r][0], V::load(row)));
    V::store(row + V::lanes, V::fma(V::broadcast(alpha), sum[r][1], V::load(row + V::lanes)));
  }
}

/// The transpose of `lanes` rows.
template <class T>
PARE_TARGET_AVX512 void gemm_transpose(Index cols, const T* src, Index src_stride, T* dst,
                                       Index dst_stride) noexcept {
  using V = GemmVector<T>;
  Index j = 0;
  for (; j + V::columns <= cols; j += V::columns)
    V::transpose_columns(src + j, src_stride, dst + j * dst_stride, dst_stride);
  for (; j < cols; ++j)
    for (Index i = 0; i < V::lanes; ++i) dst[j * dst_stride + i] = src[i * src_stride + j];
}

/// 14 x 2 sums, two registers of B and one of A are 31 of the 32.
template <class T>
[[nodiscard]] constexpr GemmKernel<T> gemm_kernel() noexcept {
  return {2 * GemmVector<T>::lanes,
          {{{14, gemm_tile<T, 14>},
            {8, gemm_tile<T, 8>},
            {4, gemm_tile<T, 4>},
            {2, gemm_tile<T, 2>},
            {1, gemm_tile<T, 1>}}},
          GemmVector<T>::lanes,
          gemm_transpose<T>};
}

}  // namespace pare::kernels::avx512
