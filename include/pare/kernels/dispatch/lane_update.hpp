#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/portable/lane_update.hpp"
#include "pare/kernels/reference/lane_update.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/lane_update.hpp"
#endif

namespace pare {

/// Rows of a weight tile whose elements lie side by side: one 512-bit register of floats.
inline constexpr Index lane_count = 16;

/// The update of the OBS sweep on a tile that keeps 16 weight rows in the lanes.
///
///     tile[j * 16 + l] -= u[c * u_stride + j] * e[c * 16 + l]      for c < depth one after the
///                                                                  other, j < count, l < 16
///
/// Shapes    u (depth, count), e (depth, 16) and tile (count, 16) dense; no alignment needed, no
///           overlap; depth at most 16
/// Accuracy  one rounding per term with FMA, two without
using LaneUpdate = void (*)(Index depth, const float* u, Index u_stride, const float* e,
                            Index count, float* tile) noexcept;

/// The update to call in a loop. Throws ArgumentError for a forced kernel that cannot run.
[[nodiscard]] inline LaneUpdate select_lane_update(const Execution& execution = {}) {
#if PARE_X86_KERNELS
  switch (kernels::select_kernel(execution.force, {KernelName::avx512, KernelName::avx2,
                                                   KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return kernels::avx512::lane_update;
    case KernelName::avx2:
      return kernels::avx2::lane_update;
#else
  switch (kernels::select_kernel(execution.force, {KernelName::portable, KernelName::reference})) {
#endif
    case KernelName::portable:
      return kernels::portable::lane_update;
    default:
      return kernels::reference::lane_update;
  }
}

}  // namespace pare
