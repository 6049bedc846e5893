#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/gemm.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/portable/gemm.hpp"
#include "pare/kernels/reference/gemm.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/avx2/gemm.hpp"
#include "pare/kernels/x86/avx512/gemm.hpp"
#endif

namespace pare::kernels {

/// See native_integer_kernel; without a function for other names.
template <class T, class C>
[[nodiscard]] GemmKernel<T, C> native_gemm_kernel([[maybe_unused]] KernelName name) {
#if PARE_X86_KERNELS
  if (name == KernelName::avx512) return avx512::gemm_kernel<T, C>();
  if (name == KernelName::avx2) return avx2::gemm_kernel<T, C>();
#endif
  return {};
}

/// The kernel that multiplies matrices of T and adds to one of C. Throws ArgumentError when `force`
/// names a kernel that does not exist or cannot run here.
template <class T, class C = T>
[[nodiscard]] GemmKernel<T, C> select_gemm_kernel(KernelName force) {
#if PARE_X86_KERNELS
  const KernelName name = select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference});
#else
  const KernelName name = select_kernel(force, {KernelName::portable, KernelName::reference});
#endif
  if (name == KernelName::portable) return portable::gemm_kernel<T, C>();
  if (name == KernelName::reference) return reference::gemm_kernel<T, C>();
  return native_gemm_kernel<T, C>(name);
}

}  // namespace pare::kernels

#if defined(PARE_LINKS_COMPILED_KERNELS)
#include "pare/kernels/compiled_gemm.hpp"
#endif
