#pragma once

#include "pare/core/index.hpp"

namespace pare::kernels::reference {

inline void lane_update(Index depth, const float* u, Index u_stride, const float* e, Index count,
                        float* tile) noexcept {
  for (Index c = 0; c < depth; ++c)
    for (Index j = 0; j < count; ++j)
      for (Index l = 0; l < 16; ++l) tile[j * 16 + l] -= u[c * u_stride + j] * e[c * 16 + l];
}

}  // namespace pare::kernels::reference
