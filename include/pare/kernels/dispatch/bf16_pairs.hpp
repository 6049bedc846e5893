#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/reference/bf16_pairs.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/bf16_pairs.hpp"
#endif

/// Arranged activations x[k][count], rounded to bf16 in place: to nearest, ties to even.
namespace pare::kernels {

namespace detail {
#if PARE_X86_KERNELS
namespace rounding = sse2;
#else
namespace rounding = reference;
#endif
}  // namespace detail

inline void round_to_bf16(float* x, Index count) noexcept {
  detail::rounding::round_to_bf16(x, count);
}

/// To words [k/4][2][count] of two bf16: the lower one is k = 0 or 1 of four, the upper one 2 or 3.
inline void pack_bf16_pairs(float* x, Index quads, Index count) noexcept {
  detail::rounding::pack_bf16_pairs(x, quads, count);
}

}  // namespace pare::kernels
