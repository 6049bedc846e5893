#pragma once

#include "pare/kernels/dispatch/gemm.hpp"

/// The same as compiled.hpp for products of float matrices.
#define PARE_COMPILED_GEMM(linkage)                                                         \
  linkage template GemmKernel<float, float> native_gemm_kernel<float, float>(KernelName);   \
  linkage template GemmKernel<float, double> native_gemm_kernel<float, double>(KernelName); \
  linkage template GemmKernel<double, double> native_gemm_kernel<double, double>(KernelName);

#if defined(PARE_LINKS_COMPILED_KERNELS)
namespace pare::kernels {

PARE_COMPILED_GEMM(extern)

}  // namespace pare::kernels
#endif
