#pragma once

#include <xmmintrin.h>

#include <cstdint>

#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#include "pare/kernels/x86/prefetch.hpp"

namespace pare::kernels {

/// Makes streaming stores visible to other threads before what follows.
inline void finish_streaming() noexcept { _mm_sfence(); }

/// Floats between what a loop reads and what it asks for. Hardware prefetchers stop at the ends of
/// pages and lose time at each; 16 KiB ahead fits any second-level cache. Those that follow loads
/// are left alone, which is as fast or, with idle memory, faster (Zen 4).
inline constexpr Index prefetch_distance = 4096;

PARE_FORCE_INLINE void prefetch(const float* p) noexcept {
  if (detail::loads_lead_prefetch()) return;
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

/// Two passes over `count` floats, of which only the first waits for memory, each ask for half of
/// what comes after: memory then stays busy in both. Pass 0 or 1 at element i, a multiple of 32:
PARE_FORCE_INLINE void prefetch_half(const float* x, Index count, int pass, Index i) noexcept {
  const Index distance = count > prefetch_distance ? count : prefetch_distance;
  prefetch(x + distance + pass * (count / 2) + i / 2);
}

/// How many of `count` elements lie before the first whose address is a multiple of `alignment`.
template <class T>
[[nodiscard]] inline Index unaligned_head(const T* p, std::uintptr_t alignment,
                                          Index count) noexcept {
  const std::uintptr_t past = reinterpret_cast<std::uintptr_t>(p) % alignment;
  const Index head = past == 0 ? 0 : static_cast<Index>((alignment - past) / sizeof(T));
  return head < count ? head : count;
}

}  // namespace pare::kernels
