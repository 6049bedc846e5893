#pragma once

#include <initializer_list>
#include <string>

#include "pare/core/config.hpp"
#include "pare/core/error.hpp"
#include "pare/kernels/kernel_name.hpp"

namespace pare::kernels {

/// True when this CPU and operating system run the instruction set of a kernel.
[[nodiscard]] inline bool cpu_supports(KernelName name) noexcept {
#if PARE_X86_KERNELS
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool avx512 =
      avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  switch (name) {
    case KernelName::avx2:
      return avx2;
    case KernelName::avx512:
      return avx512;
    case KernelName::avx512vnni:
      return vnni;
    default:
      return true;
  }
#else
  return name < KernelName::avx2;
#endif
}

/// The kernel to run of those that exist (`available`, best first).
/// Throws ArgumentError when the forced one does not exist or the CPU cannot run it.
[[nodiscard]] inline KernelName select_kernel(KernelName force,
                                              std::initializer_list<KernelName> available) {
  std::string all;
  for (const KernelName name : available) {
    if (force == name) {
      if (cpu_supports(name)) return name;
      throw ArgumentError("this CPU cannot run the " + std::string(to_string(name)) + " kernel");
    }
    if (force == KernelName::automatic && cpu_supports(name)) return name;
    all += (all.empty() ? "" : ", ") + std::string(to_string(name));
  }
  throw ArgumentError("there is no " + std::string(to_string(force)) +
                      " kernel of this operation; there are " + all);
}

}  // namespace pare::kernels
