#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/bf16.hpp"
#include "pare/kernels/cpu.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/amx/bf16.hpp"
#endif

namespace pare::kernels {

/// Kernels of matmul_bf16 that matmul with float32 activations does not have.
[[nodiscard]] constexpr bool lacks_float32(KernelName name) noexcept {
  return name == KernelName::amx || name == KernelName::avx512bf16;
}

/// See native_integer_kernel.
template <class Codes>
[[nodiscard]] const Bf16Kernel* native_bf16_kernel([[maybe_unused]] KernelName name) {
#if PARE_X86_KERNELS
  if (name == KernelName::amx) return &amx::bf16_kernel<Codes>;
  if (name == KernelName::avx512bf16) return &avx512bf16::bf16_kernel<Codes>;
#endif
  return nullptr;
}

/// The bf16 matmul kernel of a format; null where the float32 kernel on rounded activations takes
/// its place: codes are not exact in bf16, the CPU has no fast bf16 products, or that is forced.
/// Throws ArgumentError for a forced one that the CPU cannot run.
template <Format F>
[[nodiscard]] const Bf16Kernel* bf16_kernel(KernelName force) {
  if (lacks_float32(force)) (void)select_kernel(force, {KernelName::amx, KernelName::avx512bf16});
#if PARE_X86_KERNELS
  if constexpr (exact_in_bf16<F>()) {
    using Codes = packed_codes<F>;
    const bool automatic = force == KernelName::automatic;
    if (force == KernelName::amx || (automatic && cpu_supports(KernelName::amx)))
      return native_bf16_kernel<Codes>(KernelName::amx);
    if (force == KernelName::avx512bf16 ||
        (automatic && cpu_supports(KernelName::avx512bf16) && has_fast_bf16()))
      return native_bf16_kernel<Codes>(KernelName::avx512bf16);
  }
#endif
  return nullptr;
}

}  // namespace pare::kernels
