#pragma once

#include <string>

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

/// How elementwise kernels go through memory.
struct MemoryTuning {
  /// Outputs of at least this size are written past the caches. An ordinary store first reads
  /// the line it writes, for which streaming stores save the time; but what they wrote has left
  /// the caches. Half of the last level: input and output do not fit together.
  Index streaming_bytes = last_level_cache_bytes() / 2;
  /// Input bytes that one iteration of a parallel loop takes: some microseconds of work, and the
  /// row that is read twice stays in a second-level cache.
  Index piece_bytes = Index{64} << 10;

  friend bool operator==(const MemoryTuning&, const MemoryTuning&) = default;
};

[[nodiscard]] inline std::string to_string(const MemoryTuning& tuning) {
  return "streaming stores from " + std::to_string(tuning.streaming_bytes >> 10) +
         " KiB of output, pieces of " + std::to_string(tuning.piece_bytes >> 10) + " KiB";
}

}  // namespace pare
