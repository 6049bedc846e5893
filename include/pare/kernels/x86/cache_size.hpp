#pragma once

#include <cpuid.h>

#include <algorithm>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// Bytes of the largest data cache, from the list of caches that Intel keeps in one leaf of cpuid
/// and AMD in another; 0 when there is none.
[[nodiscard]] inline Index largest_cache_bytes() noexcept {
  Index largest = 0;
  for (const unsigned leaf : {0x4u, 0x8000001du})
    for (unsigned cache = 0, a = 0, b = 0, c = 0, d = 0; cache < 16; ++cache) {
      if (!__get_cpuid_count(leaf, cache, &a, &b, &c, &d)) break;
      const unsigned type = a & 0x1f;
      constexpr unsigned none = 0, instructions = 2;
      if (type == none) break;
      if (type == instructions) continue;
      const Index ways = (b >> 22) + 1, partitions = (b >> 12 & 0x3ff) + 1, line = (b & 0xfff) + 1;
      largest = std::max(largest, ways * partitions * line * (Index{c} + 1));
    }
  return largest;
}

}  // namespace pare::kernels
