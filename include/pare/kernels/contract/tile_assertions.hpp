#pragma once

#include "pare/core/assert.hpp"
#include "pare/core/config.hpp"
#include "pare/kernels/contract/float.hpp"
#include "pare/kernels/contract/integer.hpp"

/// What tiles assume of the drivers: see PARE_ASSERT.
namespace pare::kernels {

PARE_FORCE_INLINE void assert_segment(const Segment& segment, Index unit_quads) noexcept {
  const Index quads = segment.units * unit_quads;
  PARE_ASSERT(quads > 0 && quads % 2 == 0);
  PARE_ASSERT(4 * quads <= max_row_sum);
}

/// `channels` of a tile of `tokens`.
PARE_FORCE_INLINE void assert_integer_tile(const IntegerWeights& w, const IntegerTokens& x,
                                           const IntegerResult& result, Index tokens,
                                           Index channels) noexcept {
  PARE_ASSERT(w.codes && w.scales && w.segments && w.segment_count > 0 && w.unit_quads > 0);
  PARE_ASSERT(x.codes && x.offsets && x.scales);
  PARE_ASSERT(result.start && result.bias);
  PARE_ASSERT(!result.last || result.y);
  PARE_ASSERT(!result.last || tokens == 1 || result.y_stride >= channels);
  PARE_ASSERT(result.partial || (result.first && result.last));
}

/// All columns are one segment.
PARE_FORCE_INLINE void assert_row_tile(const IntegerWeights& w, const IntegerTokens& x,
                                       const IntegerResult& result, Index tokens,
                                       Index channels) noexcept {
  assert_integer_tile(w, x, result, tokens, channels);
  PARE_ASSERT(!x.segment_scales);
  assert_segment(w.segments[0], w.unit_quads);
}

PARE_FORCE_INLINE void assert_group_tile(const IntegerWeights& w, const IntegerTokens& x,
                                         const IntegerResult& result, Index tokens,
                                         Index channels) noexcept {
  assert_integer_tile(w, x, result, tokens, channels);
  for (Index s = 0; s < w.segment_count; ++s) assert_segment(w.segments[s], w.unit_quads);
}

PARE_FORCE_INLINE void assert_float_tile(const void* x, const void* values,
                                         const FloatResult& result, Index tokens,
                                         Index channels) noexcept {
  PARE_ASSERT(x && values && result.y);
  PARE_ASSERT(tokens == 1 || result.y_stride >= channels);
}

}  // namespace pare::kernels
