#pragma once

#include <span>

#include "pare/kernels/dispatch/bf16.hpp"
#include "pare/kernels/dispatch/float.hpp"
#include "pare/kernels/dispatch/integer.hpp"
#include "pare/kernels/dispatch/sparse.hpp"
#include "pare/kernels/layout/sparse_layouts.hpp"
#include "pare/kernels/matmul/bf16.hpp"
#include "pare/kernels/matmul/float.hpp"
#include "pare/kernels/matmul/integer.hpp"

/// What the compiled library pare::kernels holds, for those who link it: they do not compile it
/// again. It is code for instruction sets of its own (functions with a target attribute) and the
/// loops around it, which do the same whatever flags the library and its users are compiled with;
/// portable kernels are not in it, for they are others under other flags. Code layouts that are not
/// listed, those of formats outside of the library, are compiled where they are used, as all are
/// without pare::kernels.
///
/// `linkage` is `extern` here and nothing in the sources of the library, of which there is one for
/// each entry of the lists.
#define PARE_COMPILED_CODES(linkage, Bits, Lookup)                                                \
  linkage template const IntegerKernel* native_integer_kernel<PackedCodes<Bits, Lookup>>(         \
      KernelName);                                                                                \
  linkage template const FloatKernel* native_float_kernel<PackedCodes<Bits, Lookup>>(KernelName); \
  linkage template const Bf16Kernel* native_bf16_kernel<PackedCodes<Bits, Lookup>>(KernelName);

#define PARE_COMPILED_SPARSE(linkage)                                                       \
  linkage template const SparseKernel* sparse_kernel<TwoFour>(KernelName) noexcept;         \
  linkage template const SparseKernel* sparse_kernel<BlockSparse<16>>(KernelName) noexcept; \
  linkage template const SparseKernel* sparse_kernel<BlockSparse<32>>(KernelName) noexcept;

#define PARE_COMPILED_MATMUL(linkage)                                                        \
  linkage template void matmul_float(MatrixView<const float>, std::span<const MatmulOutput>, \
                                     const Execution&);                                      \
  linkage template void matmul_bf16(MatrixView<const float>, std::span<const MatmulOutput>,  \
                                    const Execution&);                                       \
  linkage template void matmul_integer(const QuantizedActivationsView&,                      \
                                       std::span<const MatmulOutput>, const Execution&);

#if defined(PARE_LINKS_COMPILED_KERNELS)
namespace pare::kernels {

PARE_COMPILED_CODES(extern, 2, false)
PARE_COMPILED_CODES(extern, 3, false)
PARE_COMPILED_CODES(extern, 4, false)
PARE_COMPILED_CODES(extern, 5, false)
PARE_COMPILED_CODES(extern, 6, false)
PARE_COMPILED_CODES(extern, 7, false)
PARE_COMPILED_CODES(extern, 8, false)
PARE_COMPILED_CODES(extern, 4, true)
PARE_COMPILED_SPARSE(extern)
PARE_COMPILED_MATMUL(extern)

}  // namespace pare::kernels
#endif
