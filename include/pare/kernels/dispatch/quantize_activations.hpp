#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/quantize_activations.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/reference/quantize_activations.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/avx2/quantize_activations.hpp"
#include "pare/kernels/x86/avx512/quantize_activations.hpp"
#endif

namespace pare::kernels {

/// Throws ArgumentError when `force` names a kernel that does not exist or cannot run here.
[[nodiscard]] inline const ActivationKernel& activation_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::activation_kernel;
    case KernelName::avx2:
      return avx2::activation_kernel;
    default:
      return reference::activation_kernel;
  }
#else
  (void)select_kernel(force, {KernelName::portable, KernelName::reference});
  return reference::activation_kernel;
#endif
}

/// The kernel that quantizes in a matmul which runs `force`: that one or, as all give the same
/// bits, the best of this CPU.
[[nodiscard]] inline const ActivationKernel& quantizing_kernel(KernelName force) {
  switch (force) {
    case KernelName::avx512:
    case KernelName::avx2:
    case KernelName::portable:
    case KernelName::reference:
      return activation_kernel(force);
    default:
      return activation_kernel(KernelName::automatic);
  }
}

}  // namespace pare::kernels
