#pragma once

#include <algorithm>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

/// Weights of a loss by the share of the training that has passed: pure functions of the step,
/// clamped to their ends. TextBrewer's schedules begin with the configured weight in their first
/// step and replace it afterwards; these are the schedule in every step, to be multiplied with a
/// weight. All throw ArgumentError for fewer steps than one.
namespace pare {

/// step / steps.
[[nodiscard]] inline double linear_growth(Index step, Index steps) {
  if (steps < 1) throw ArgumentError("there are " + std::to_string(steps) + " steps");
  return static_cast<double>(std::clamp<Index>(step, 0, steps)) / static_cast<double>(steps);
}

/// 1 - step / steps.
[[nodiscard]] inline double linear_decay(Index step, Index steps) {
  return 1.0 - linear_growth(step, steps);
}

/// min(epoch / 20, 1), with which mdistiller's DKD and ReviewKD losses begin.
[[nodiscard]] inline double dkd_warmup(Index epoch, Index epochs = 20) {
  return linear_growth(epoch, epochs);
}

}  // namespace pare
