#pragma once

#include <immintrin.h>

#include "pare/core/config.hpp"
#include "pare/kernels/packed_layout.hpp"

namespace pare::kernels {

/// Asks for the vectors of one unit a page ahead of where a stream of codes is read. Hardware
/// prefetchers stop at the ends of pages: with this the one-token kernels read cold weights 1.3 to
/// 1.6 times as fast (Sapphire Rapids).
template <class Codes>
PARE_FORCE_INLINE void prefetch_unit(const std::uint32_t* unit) noexcept {
  constexpr Index ahead_bytes = 4096;
  PARE_UNROLL
  for (Index word = 0; word < Codes::unit_words; word += panel_channels)
    _mm_prefetch(reinterpret_cast<const char*>(unit + word) + ahead_bytes, _MM_HINT_T0);
}

}  // namespace pare::kernels
