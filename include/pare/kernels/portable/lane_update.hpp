#pragma once

#include "pare/core/index.hpp"
#include "pare/kernels/portable/simd.hpp"

namespace pare::kernels::portable {
inline namespace PARE_PORTABLE_NAMESPACE {

inline void lane_update(const float* u, const float* e, Index count, float* tile) noexcept {
  constexpr Index width = static_cast<Index>(Pack<float>::size);
  static_assert(16 % width == 0);
  for (Index j = 0; j < count; ++j)
    for (Index l = 0; l < 16; l += width) {
      float* const lanes = tile + j * 16 + l;
      multiply_add(Pack<float>(-u[j]), Pack<float>::load_unaligned(e + l),
                   Pack<float>::load_unaligned(lanes))
          .store_unaligned(lanes);
    }
}

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
