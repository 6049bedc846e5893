#pragma once

#include "pare/kernels/contract/gemm.hpp"

namespace pare::kernels::reference {

inline constexpr Index gemm_panel_cols = 8;

template <class T, class C>
void gemm_tile(Index depth, T alpha, const T* a, const T* b, C* c, Index, GemmAhead) noexcept {
  for (Index j = 0; j < gemm_panel_cols; ++j) {
    T sum = 0;
    for (Index k = 0; k < depth; ++k) sum += a[k] * b[k * gemm_panel_cols + j];
    c[j] += static_cast<C>(alpha * sum);
  }
}

template <class T>
void gemm_add_rows(Index rows, Index cols, T alpha, const T* sums, Index sums_stride, T* c,
                   Index c_stride) noexcept {
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) c[i * c_stride + j] += alpha * sums[i * sums_stride + j];
}

template <class T>
void gemm_transpose(Index cols, const T* src, Index, T* dst, Index dst_stride) noexcept {
  for (Index j = 0; j < cols; ++j) dst[j * dst_stride] = src[j];
}

template <class T, class C>
[[nodiscard]] constexpr GemmKernel<T, C> gemm_kernel() noexcept {
  return {gemm_panel_cols, 1, {{gemm_tile<T, C>}}, gemm_add_rows<T>, 1, gemm_transpose<T>};
}

}  // namespace pare::kernels::reference
