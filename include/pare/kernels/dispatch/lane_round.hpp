#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/reference/lane_round.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/lane_round.hpp"
#endif

namespace pare {

/// Rounds one weight in each of 16 rows to the codes of an integer format, and gives the weights
/// that these stand for.
///
///     codes[l] = clip(round_half_even(values[l] / scales[l]) + zero_points[l], lo, hi)
///     kept[l] = scales[l] * (codes[l] - zero_points[l])
///
/// Shapes    all of 16; no alignment needed, no overlap
/// Values    zero points and codes in [-128, 255]
/// Order     bit-identical for all kernels, and with the format's own encode and decode
using LaneRound = void (*)(const float* values, const kernels::LaneParameters& parameters,
                           std::int32_t* codes, float* kept) noexcept;

/// The function to call in a loop. Throws ArgumentError for a forced kernel that cannot run.
[[nodiscard]] inline LaneRound select_lane_round(const Execution& execution = {}) {
#if PARE_X86_KERNELS
  switch (kernels::select_kernel(execution.force, {KernelName::avx512, KernelName::avx2,
                                                   KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return kernels::avx512::lane_round;
    case KernelName::avx2:
      return kernels::avx2::lane_round;
    default:
      return kernels::reference::lane_round;
  }
#else
  (void)kernels::select_kernel(execution.force, {KernelName::portable, KernelName::reference});
  return kernels::reference::lane_round;
#endif
}

}  // namespace pare
