#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/core/error.hpp"
#include "pare/kernels/kernel_name.hpp"
#if PARE_X86_KERNELS
#include <cpuid.h>
#endif
#if PARE_AMX_KERNELS
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pare::kernels {

/// A set of kernels, one bit each.
using KernelSet = std::uint32_t;

[[nodiscard]] constexpr KernelSet kernel_bit(KernelName name) noexcept {
  return KernelSet{1} << static_cast<unsigned>(name);
}

namespace detail {

#if PARE_X86_KERNELS
/// Leaf 7.1 of cpuid: clang 14's __builtin_cpu_supports does not know the name.
[[nodiscard]] inline bool has_avxvnni() noexcept {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#endif

/// Tiles of int8 and bf16 (leaf 7 of cpuid), which the process may use from now on. Linux then
/// wants alternate signal stacks with room for tiles: sigaltstack refuses smaller ones.
[[nodiscard]] inline bool request_amx() noexcept {
#if PARE_AMX_KERNELS
  constexpr unsigned tiles = 1u << 24 | 1u << 25 | 1u << 22;
  constexpr long request_permission = 0x1023, tile_data = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") &&
         __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & tiles) == tiles &&
         syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

/// The kernels whose instruction sets this CPU and operating system run, but for AMX.
[[nodiscard]] inline KernelSet detect_kernels() noexcept {
  KernelSet set = kernel_bit(KernelName::automatic) | kernel_bit(KernelName::reference) |
                  kernel_bit(KernelName::portable);
#if PARE_NEON_KERNELS
  set |= kernel_bit(KernelName::neon);
#endif
#if PARE_X86_KERNELS
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return set;
  set |= kernel_bit(KernelName::avx2);
  if (has_avxvnni()) set |= kernel_bit(KernelName::avxvnni);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
    return set;
  set |= kernel_bit(KernelName::avx512);
  if (__builtin_cpu_supports("avx512vnni")) set |= kernel_bit(KernelName::avx512vnni);
  if (__builtin_cpu_supports("avx512bf16")) set |= kernel_bit(KernelName::avx512bf16);
  if (__builtin_cpu_supports("avx512vbmi")) set |= kernel_bit(KernelName::avx512vbmi);
#endif
  return set;
}

inline std::atomic<KernelSet> hidden_kernels{0};

}  // namespace detail

/// True when this CPU and operating system run the instruction set of a kernel. Whoever asks for
/// AMX makes the process one that uses it: see detail::request_amx. Products with int8 and with
/// bf16 activations ask, others do not.
[[nodiscard]] inline bool cpu_supports(KernelName name) noexcept {
  const KernelSet hidden = detail::hidden_kernels.load(std::memory_order_relaxed);
  if ((hidden & kernel_bit(name)) != 0) return false;
  if (name == KernelName::amx) {
    static const bool amx = detail::request_amx();
    return amx;
  }
  static const KernelSet detected = detail::detect_kernels();
  return (detected & kernel_bit(name)) != 0;
}

/// Every kernel that this CPU and operating system run, from the plainest. Asks for AMX: see
/// cpu_supports.
[[nodiscard]] inline std::vector<KernelName> supported_kernels() {
  std::vector<KernelName> names;
  for (std::size_t i = 1; i < kernel_names.size(); ++i)  // 0 is automatic
    if (const auto name = static_cast<KernelName>(i); cpu_supports(name)) names.push_back(name);
  return names;
}

[[nodiscard]] inline bool is_amd() noexcept {
#if PARE_X86_KERNELS
  __builtin_cpu_init();  // as somebody may ask before main
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

/// Whether bf16 dot products are faster than float32 multiply-adds: AMD's cores do twice as many
/// operations per cycle, Intel's (up to Emerald Rapids, measured) half as many.
[[nodiscard]] inline bool has_fast_bf16() noexcept { return is_amd(); }

/// While it lives, the CPU counts as one that lacks some kernels, in all threads: for tests of what
/// runs elsewhere.
class HideKernels {
 public:
  explicit HideKernels(std::initializer_list<KernelName> names) noexcept {
    KernelSet set = 0;
    for (const KernelName name : names) set |= kernel_bit(name);
    before_ = detail::hidden_kernels.fetch_or(set);
  }
  HideKernels(const HideKernels&) = delete;
  HideKernels& operator=(const HideKernels&) = delete;
  ~HideKernels() { detail::hidden_kernels.store(before_); }

 private:
  KernelSet before_;
};

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
