#pragma once

#include "pare/core/index.hpp"

namespace pare::kernels::reference {

inline void lane_update(const float* u, const float* e, Index count, float* tile) noexcept {
  for (Index j = 0; j < count; ++j)
    for (Index l = 0; l < 16; ++l) tile[j * 16 + l] -= u[j] * e[l];
}

}  // namespace pare::kernels::reference
