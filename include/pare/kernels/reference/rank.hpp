#pragma once

#include <cstdint>

#include "pare/core/finite.hpp"
#include "pare/kernels/contract/rank.hpp"

namespace pare::kernels::reference {

inline bool has_nan(const float* x, Index n) noexcept {
  bool any = false;
  for (Index j = 0; j < n; ++j) any |= is_nan(x[j]);
  return any;
}

inline Index count_below(const float* x, Index n, float bound) noexcept {
  Index count = 0;
  for (Index j = 0; j < n; ++j) count += x[j] < bound ? 1 : 0;
  return count;
}

inline Index copy_between(const float* x, Index n, float low, float high, float* out) noexcept {
  Index count = 0;
  for (Index j = 0; j < n; ++j)
    if (x[j] >= low && x[j] <= high) out[count++] = x[j];
  return count;
}

inline void bits_from(const float* x, Index n, float bound, std::uint64_t* words) noexcept {
  for (Index begin = 0; begin < n; begin += 64) {
    std::uint64_t bits = 0;
    for (Index l = 0; l < 64 && begin + l < n; ++l)
      bits |= std::uint64_t{x[begin + l] >= bound} << l;
    words[begin / 64] = bits;
  }
}

inline constexpr RankKernel rank_kernel{has_nan, count_below, copy_between, bits_from};

}  // namespace pare::kernels::reference
