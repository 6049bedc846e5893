#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/gemm_kernel.hpp"
#include "pare/kernels/portable/simd.hpp"

namespace pare::kernels::portable {
inline namespace PARE_PORTABLE_NAMESPACE {

/// c (Rows, 2 registers) += alpha a b with every sum in a register.
template <class T, int Rows>
void gemm_tile(Index depth, T alpha, const T* a, const T* b, T* c, Index c_stride) noexcept {
  constexpr Index width = static_cast<Index>(Pack<T>::size);
  Pack<T> sum[Rows][2];
  PARE_UNROLL
  for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = Pack<T>(T(0));
  for (Index k = 0; k < depth; ++k, b += 2 * width) {
    const Pack<T> b0 = Pack<T>::load_unaligned(b), b1 = Pack<T>::load_unaligned(b + width);
    PARE_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Pack<T> x(a[r * gemm_depth<T> + k]);
      sum[r][0] = multiply_add(x, b0, sum[r][0]);
      sum[r][1] = multiply_add(x, b1, sum[r][1]);
    }
  }
  PARE_UNROLL
  for (int r = 0; r < Rows; ++r) PARE_UNROLL
  for (int half = 0; half < 2; ++half) {
    T* const to = c + r * c_stride + half * width;
    multiply_add(Pack<T>(alpha), sum[r][half], Pack<T>::load_unaligned(to)).store_unaligned(to);
  }
}

/// The transpose of one register's worth of rows.
template <class T>
void gemm_transpose(Index cols, const T* src, Index src_stride, T* dst, Index dst_stride) noexcept {
  constexpr Index width = static_cast<Index>(Pack<T>::size);
  for (Index j = 0; j < cols; ++j)
    for (Index i = 0; i < width; ++i) dst[j * dst_stride + i] = src[i * src_stride + j];
}

/// Four rows of sums leave registers to spare where there are only 16.
template <class T>
[[nodiscard]] constexpr GemmKernel<T> gemm_kernel() noexcept {
  constexpr Index width = static_cast<Index>(Pack<T>::size);
  return {2 * width,
          {{{4, gemm_tile<T, 4>}, {2, gemm_tile<T, 2>}, {1, gemm_tile<T, 1>}}},
          width,
          gemm_transpose<T>};
}

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
