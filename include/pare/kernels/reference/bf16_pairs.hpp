#pragma once

#include <cstring>

#include "pare/core/float16.hpp"
#include "pare/core/index.hpp"

/// See bf16_pairs.hpp.
namespace pare::kernels::reference {

inline void round_to_bf16(float* x, Index count) noexcept {
  for (Index i = 0; i < count; ++i) x[i] = static_cast<float>(BFloat16(x[i]));
}

inline void pack_bf16_pairs(float* x, Index quads, Index count) noexcept {
  float* out = x;
  for (; quads > 0; --quads, x += 4 * count)
    for (Index i = 0; i < 2 * count; ++i, ++out) {
      const BFloat16 pair[2] = {BFloat16(x[i]), BFloat16(x[i + 2 * count])};
      std::memcpy(out, pair, sizeof(pair));
    }
}

}  // namespace pare::kernels::reference
