#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/elementwise.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/reference/elementwise.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/avx2/elementwise.hpp"
#include "pare/kernels/x86/avx512/elementwise.hpp"
#include "pare/kernels/x86/streaming.hpp"
#endif

namespace pare::kernels {

/// Throws ArgumentError when `force` names a kernel that does not exist or cannot run here.
[[nodiscard]] inline const ElementwiseKernel& elementwise_kernel(
    KernelName force = KernelName::automatic) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::elementwise_kernel;
    case KernelName::avx2:
      return avx2::elementwise_kernel;
    default:
      return reference::elementwise_kernel;
  }
#else
  (void)select_kernel(force, {KernelName::portable, KernelName::reference});
  return reference::elementwise_kernel;
#endif
}

#if !PARE_X86_KERNELS
/// No kernel streams.
inline void finish_streaming() noexcept {}
#endif

}  // namespace pare::kernels
