#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/bf16_kernel.hpp"
#include "pare/kernels/cpu.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/bf16_codes_avx512bf16.hpp"
#endif

namespace pare::kernels {

/// The bf16 matmul kernel of a format; null where the float32 kernel on rounded activations takes
/// its place: codes are not exact in bf16, the CPU has no fast bf16 products, or that is forced.
/// Throws ArgumentError for a forced avx512bf16 that the CPU cannot run.
template <Format F>
[[nodiscard]] const Bf16Kernel* bf16_kernel(KernelName force) {
  const bool forced = force == KernelName::avx512bf16;
  if (forced) (void)select_kernel(force, {KernelName::avx512bf16});
#if PARE_X86_KERNELS
  if constexpr (exact_in_bf16<F>()) {
    const bool best = cpu_supports(KernelName::avx512bf16) && has_fast_bf16();
    if (forced || (force == KernelName::automatic && best))
      return &avx512bf16::bf16_kernel<packed_codes<F>>;
  }
#endif
  return nullptr;
}

}  // namespace pare::kernels
