#pragma once

#include "pare/kernels/contract/sparse.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/amx/sparse.hpp"
#endif

namespace pare::kernels {

/// The kernel of a layout in the family of the dense kernel that would run; null without one.
template <class Layout>
[[nodiscard]] const SparseKernel* sparse_kernel([[maybe_unused]] KernelName dense) noexcept {
#if PARE_X86_KERNELS
  constexpr const SparseKernel* vnni = &avx512vnni::sparse_kernel<Layout>;
  constexpr const SparseKernel* amx = &amx::sparse_kernel<Layout>;
  if (*vnni && dense == KernelName::avx512vnni) return vnni;
  if (*amx && dense == KernelName::amx) return amx;
#endif
  return nullptr;
}

}  // namespace pare::kernels
