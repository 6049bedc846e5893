#pragma once

#include "pare/kernels/contract/sparse.hpp"
#include "pare/kernels/layout/block_sparse.hpp"
#include "pare/kernels/layout/two_four.hpp"
#include "pare/kernels/x86/avx512vnni/block_tiles.hpp"
#include "pare/kernels/x86/avx512vnni/two_four.hpp"

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
