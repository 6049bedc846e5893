#pragma once

#include <immintrin.h>

#include <cstdint>

#include "pare/core/config.hpp"
#include "pare/kernels/layout/packed_layout.hpp"

/// Few tokens read weights at the speed of memory only if enough of them are under way.
///
/// Hardware prefetchers stop at the ends of pages, and a first-level cache has too few fill buffers
/// for the latency of DRAM: lines are asked for into the second level two pages ahead, into the
/// first shortly before use (85 to 90 % of the read bandwidth instead of 75 to 82 %, Sapphire
/// Rapids). AMD's prefetchers follow loads, not what is asked for: a loop that is short enough to
/// load far ahead of its arithmetic is best left to them (8-bit weights, two cores of a Zen 4 with
/// idle memory: 46 to 51 instead of 36 to 40 GB/s).
namespace pare::kernels {

/// How long a kernel works on a cache line of weights.
enum class LineWork : std::uint8_t {
  little,  ///< a few loads and dot products
  much
};

namespace detail {
/// A load of what the compiler's runtime found out before the first constructor ran.
[[nodiscard]] PARE_FORCE_INLINE bool loads_lead_prefetch() noexcept {
  return __builtin_cpu_is("amd");
}
}  // namespace detail

/// Beside `Bytes` bytes of a stream.
template <Index Bytes, LineWork Work = LineWork::much>
PARE_FORCE_INLINE void prefetch_stream(const void* at) noexcept {
  constexpr Index far_bytes = 8192, near_bytes = 1024;
  if (Work == LineWork::little && detail::loads_lead_prefetch()) return;
  PARE_UNROLL
  for (Index byte = 0; byte < Bytes; byte += 64) {
    const char* line = static_cast<const char*>(at) + byte;
    _mm_prefetch(line + far_bytes, _MM_HINT_T1);
    _mm_prefetch(line + near_bytes, _MM_HINT_T0);
  }
}

template <class Codes, LineWork Work = LineWork::much>
PARE_FORCE_INLINE void prefetch_unit(const std::uint32_t* unit) noexcept {
  prefetch_stream<4 * Codes::unit_words, Work>(unit);
}

/// Parameters are a slow stream beside that of the codes.
PARE_FORCE_INLINE void prefetch_parameters(const PackedPanel& w, Index group) noexcept {
  constexpr Index ahead_bytes = 1024;
  const auto* scales =
      reinterpret_cast<const char*>(w.scales) + group * (panel_channels * bits(w.scale_type) / 8);
  _mm_prefetch(scales + ahead_bytes, _MM_HINT_T0);
  if (w.zero_points)
    _mm_prefetch(
        reinterpret_cast<const char*>(w.zero_points) + group * panel_channels + ahead_bytes,
        _MM_HINT_T0);
}

}  // namespace pare::kernels
