#pragma once

#include "pare/core/index.hpp"
#include "pare/kernels/portable/simd.hpp"

namespace pare::kernels::portable {
inline namespace PARE_PORTABLE_NAMESPACE {

inline void lane_update(Index depth, const float* u, Index u_stride, const float* e, Index count,
                        float* tile) noexcept {
  constexpr Index width = static_cast<Index>(Pack<float>::size);
  static_assert(16 % width == 0);
  for (Index j = 0; j < count; ++j)
    for (Index l = 0; l < 16; l += width) {
      float* const lanes = tile + j * 16 + l;
      Pack<float> sum = Pack<float>::load_unaligned(lanes);
      for (Index c = 0; c < depth; ++c)
        sum = multiply_add(Pack<float>(-u[c * u_stride + j]),
                           Pack<float>::load_unaligned(e + c * 16 + l), sum);
      sum.store_unaligned(lanes);
    }
}

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
