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
[[nodiscard]] const Bf16Kernel* bf16_kernel(KernelName force, Index tokens) {
#if PARE_X86_KERNELS
  if (force == KernelName::avx512bf16) (void)select_kernel(force, {KernelName::avx512bf16});
  if constexpr (exact_in_bf16<F>()) {
    const Bf16Kernel& kernel = avx512bf16::bf16_kernel<packed_codes<F>>;
    // One token waits for codes, not for products, and decoding to bf16 takes half the time.
    const bool best = cpu_supports(KernelName::avx512bf16) && (tokens == 1 || has_fast_bf16());
    if (force == KernelName::avx512bf16 || (force == KernelName::automatic && best)) return &kernel;
  }
#else
  if (force == KernelName::avx512bf16) (void)select_kernel(force, {KernelName::avx512bf16});
#endif
  (void)tokens;
  return nullptr;
}

}  // namespace pare::kernels
