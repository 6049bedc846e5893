#pragma once

#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/cache_size.hpp"
#endif

namespace pare {

/// Bytes of the largest cache of this CPU; 32 MiB where it does not say.
[[nodiscard]] inline Index last_level_cache_bytes() noexcept {
#if PARE_X86_KERNELS
  static const Index bytes = kernels::largest_cache_bytes();
  if (bytes > 0) return bytes;
#endif
  return Index{32} << 20;
}

}  // namespace pare
