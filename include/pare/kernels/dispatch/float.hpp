#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/float.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/portable/float.hpp"
#include "pare/kernels/reference/float.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/avx2/float.hpp"
#include "pare/kernels/x86/avx512/float.hpp"
#endif

namespace pare::kernels {

/// See native_integer_kernel.
template <class Codes>
[[nodiscard]] const FloatKernel* native_float_kernel([[maybe_unused]] KernelName name) {
#if PARE_X86_KERNELS
  if (name == KernelName::avx512) return &avx512::float_kernel<Codes>;
  if (name == KernelName::avx2) return &avx2::float_kernel<Codes>;
#endif
  return nullptr;
}

/// The float matmul kernel of a format's codes on this CPU.
/// Throws ArgumentError as select_kernel does.
template <class Codes>
[[nodiscard]] const FloatKernel& float_kernel(KernelName force) {
#if PARE_X86_KERNELS
  const KernelName name = select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference});
#else
  const KernelName name = select_kernel(force, {KernelName::portable, KernelName::reference});
#endif
  if (const FloatKernel* native = native_float_kernel<Codes>(name)) return *native;
  if (name == KernelName::portable) return portable::float_kernel<Codes>;
  return reference::float_kernel<Codes>;
}

}  // namespace pare::kernels
