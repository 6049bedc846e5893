#pragma once

#include "pare/kernels/x86/amx/integer.hpp"
#include "pare/kernels/x86/avx512vnni/sparse.hpp"

namespace pare::kernels::amx {

inline constexpr IntegerKernel two_four_kernel =
    with_tiles<TwoFourCodes>(avx512vnni::two_four_kernel);

/// Tiles cannot skip activations: blocks are multiplied by AVX-512 VNNI.
template <class Layout>
inline constexpr SparseKernel sparse_kernel = avx512vnni::sparse_kernel<Layout>;

template <>
inline constexpr SparseKernel sparse_kernel<TwoFour>{
    KernelName::amx, {}, &two_four_kernel, TwoFourCodes::unit, TwoFourCodes::unit_words};

}  // namespace pare::kernels::amx
