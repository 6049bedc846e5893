#pragma once

#include "pare/kernels/gemm_kernel.hpp"

namespace pare::kernels::reference {

inline constexpr Index gemm_panel_cols = 8;

template <class T>
void gemm_tile(Index depth, T alpha, const T* a, const T* b, T* c, Index) noexcept {
  for (Index j = 0; j < gemm_panel_cols; ++j) {
    T sum = 0;
    for (Index k = 0; k < depth; ++k) sum += a[k] * b[k * gemm_panel_cols + j];
    c[j] += alpha * sum;
  }
}

template <class T>
void gemm_transpose(Index cols, const T* src, Index, T* dst, Index dst_stride) noexcept {
  for (Index j = 0; j < cols; ++j) dst[j * dst_stride] = src[j];
}

template <class T>
[[nodiscard]] constexpr GemmKernel<T> gemm_kernel() noexcept {
  return {gemm_panel_cols, {{{1, gemm_tile<T>}}}, 1, gemm_transpose<T>};
}

}  // namespace pare::kernels::reference
