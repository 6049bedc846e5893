#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/contract/arrange_codes.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/portable/arrange_codes.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/avx512/arrange_codes.hpp"
#endif

namespace pare::kernels::detail {

/// All of them give the same bytes: a forced kernel only decides whether wide registers are used.
template <Format F>
[[nodiscard]] ArrangeCodes select_arrangement([[maybe_unused]] KernelName force) noexcept {
#if PARE_X86_KERNELS
  if constexpr (TableFormat<F>)
    if ((force == KernelName::automatic || force >= KernelName::avx512) &&
        cpu_supports(KernelName::avx512))
      return avx512::arrange_codes<F>;
#endif
  return arrange_codes<F>;
}

}  // namespace pare::kernels::detail
