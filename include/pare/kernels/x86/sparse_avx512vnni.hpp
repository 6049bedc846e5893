#pragma once

#include "pare/kernels/block_sparse.hpp"
#include "pare/kernels/sparse_kernel.hpp"
#include "pare/kernels/two_four.hpp"
#include "pare/kernels/x86/block_tiles_avx512vnni.hpp"
#include "pare/kernels/x86/two_four_avx512vnni.hpp"

namespace pare::kernels::avx512vnni {

/// A layout without blocks needs a kernel of its own.
template <class Layout>
inline constexpr SparseKernel sparse_kernel = [] {
  if constexpr (Layout::has_blocks)
    return SparseKernel{KernelName::avx512vnni, block_tiles<Layout>()};
  else
    return SparseKernel{};
}();

template <>
inline constexpr SparseKernel sparse_kernel<TwoFour>{
    KernelName::avx512vnni, {}, &two_four_kernel, TwoFourCodes::unit, TwoFourCodes::unit_words};

}  // namespace pare::kernels::avx512vnni
