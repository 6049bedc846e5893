#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/gemm.hpp"
#include "pare/kernels/portable/simd.hpp"

namespace pare::kernels::portable {
inline namespace PARE_PORTABLE_NAMESPACE {

/// p[i] += alpha x[i]
template <class T>
void add_scaled(T* p, T alpha, Pack<T> x) noexcept {
  multiply_add(Pack<T>(alpha), x, Pack<T>::load_unaligned(p)).store_unaligned(p);
}
inline void add_scaled(double* p, float alpha, Pack<float> x) noexcept {
  std::array<float, Pack<float>::size> products;
  (Pack<float>(alpha) * x).store_unaligned(products.data());
  for (std::size_t i = 0; i < products.size(); ++i) p[i] += static_cast<double>(products[i]);
}

/// c (Rows, 2 registers) += alpha a b with every sum in a register.
template <class T, class C, int Rows>
void gemm_tile(Index depth, T alpha, const T* a, const T* b, C* c, Index c_stride,
               GemmAhead) noexcept {
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
  for (int r = 0; r < Rows; ++r) {
    add_scaled(c + r * c_stride, alpha, sum[r][0]);
    add_scaled(c + r * c_stride + width, alpha, sum[r][1]);
  }
}

template <class T>
void gemm_add_rows(Index rows, Index cols, T alpha, const T* sums, Index sums_stride, T* c,
                   Index c_stride) noexcept {
  constexpr Index width = static_cast<Index>(Pack<T>::size);
  for (Index i = 0; i < rows; ++i, sums += sums_stride, c += c_stride) {
    Index j = 0;
    for (; j + width <= cols; j += width)
      add_scaled(c + j, alpha, Pack<T>::load_unaligned(sums + j));
    // The rest in a register too: with FMA it rounds once, without twice.
    std::array<T, Pack<T>::size> rest_of_sums{}, rest{};
    std::copy(sums + j, sums + cols, rest_of_sums.begin());
    std::copy(c + j, c + cols, rest.begin());
    add_scaled(rest.data(), alpha, Pack<T>::load_unaligned(rest_of_sums.data()));
    std::copy_n(rest.begin(), cols - j, c + j);
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
template <class T, class C>
[[nodiscard]] constexpr GemmKernel<T, C> gemm_kernel() noexcept {
  constexpr Index width = static_cast<Index>(Pack<T>::size);
  return {2 * width,
          4,
          {{gemm_tile<T, C, 1>, gemm_tile<T, C, 2>, gemm_tile<T, C, 3>, gemm_tile<T, C, 4>}},
          gemm_add_rows<T>,
          width,
          gemm_transpose<T>};
}

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
