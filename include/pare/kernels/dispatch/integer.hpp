#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/integer.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/portable/integer.hpp"
#include "pare/kernels/reference/integer.hpp"
#if PARE_NEON_KERNELS
#include "pare/kernels/arm/integer_codes_neon.hpp"
#endif
#if PARE_X86_KERNELS
#include "pare/kernels/x86/amx/integer.hpp"
#include "pare/kernels/x86/avx2/integer.hpp"
#include "pare/kernels/x86/avx512vnni/integer.hpp"
#endif

namespace pare::kernels {

/// The kernel that is compiled for an instruction set of its own, whatever the consumer compiles
/// for: see compiled.hpp. Null for other names.
template <class Codes>
[[nodiscard]] const IntegerKernel* native_integer_kernel([[maybe_unused]] KernelName name) {
#if PARE_X86_KERNELS
  switch (name) {
    case KernelName::amx:
      return &amx::integer_kernel<Codes>;
    case KernelName::avx512vnni:
      return &avx512vnni::integer_kernel<Codes>;
    case KernelName::avxvnni:
      return &avxvnni::integer_kernel<Codes>;
    case KernelName::avx2:
      return &avx2::integer_kernel<Codes>;
    default:
      break;
  }
#elif PARE_NEON_KERNELS
  if (name == KernelName::neon) return &neon::integer_kernel<Codes>;
#endif
  return nullptr;
}

/// The integer matmul kernel of a format's codes on this CPU.
/// Throws ArgumentError as select_kernel does.
template <class Codes>
[[nodiscard]] const IntegerKernel& integer_kernel(KernelName force) {
#if PARE_X86_KERNELS
  const KernelName name =
      select_kernel(force, {KernelName::amx, KernelName::avx512vnni, KernelName::avxvnni,
                            KernelName::avx2, KernelName::portable, KernelName::reference});
#elif PARE_NEON_KERNELS
  const KernelName name =
      select_kernel(force, {KernelName::neon, KernelName::portable, KernelName::reference});
#else
  const KernelName name = select_kernel(force, {KernelName::portable, KernelName::reference});
#endif
  if (const IntegerKernel* native = native_integer_kernel<Codes>(name)) return *native;
  if (name == KernelName::portable) return portable::integer_kernel<Codes>;
  return reference::integer_kernel<Codes>;
}

}  // namespace pare::kernels
