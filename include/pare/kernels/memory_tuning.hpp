#pragma once

#include <string>

#include "pare/core/index.hpp"
#include "pare/kernels/dispatch/last_level_cache.hpp"

namespace pare {

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
