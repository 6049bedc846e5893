#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/reference/rank.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/rank.hpp"
#endif

namespace pare::kernels {

/// Throws ArgumentError for a forced kernel that cannot run.
[[nodiscard]] inline RankKernel select_rank_kernel(const Execution& execution = {}) {
#if PARE_X86_KERNELS
  switch (select_kernel(execution.force, {KernelName::avx512, KernelName::avx2,
                                          KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::rank_kernel;
    case KernelName::avx2:
      return avx2::rank_kernel;
    default:
      return reference::rank_kernel;
  }
#else
  (void)select_kernel(execution.force, {KernelName::portable, KernelName::reference});
  return reference::rank_kernel;
#endif
}

}  // namespace pare::kernels
