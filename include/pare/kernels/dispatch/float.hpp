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

/// The float matmul kernel of a format's codes on this CPU.
/// Throws ArgumentError as select_kernel does.
template <class Codes>
[[nodiscard]] const FloatKernel& float_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::float_kernel<Codes>;
    case KernelName::avx2:
      return avx2::float_kernel<Codes>;
#else
  switch (select_kernel(force, {KernelName::portable, KernelName::reference})) {
#endif
    case KernelName::portable:
      return portable::float_kernel<Codes>;
    default:
      return reference::float_kernel<Codes>;
  }
}

}  // namespace pare::kernels
