#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace training {

/// How fast is learned when: a straight way up, then half a cosine down to a share of the peak.
struct LearningRate {
  double peak = 1e-3;
  std::int64_t warm_up = 20, steps = 100;
  double last_share = 0.05;

  /// At step `step` from 0.
  [[nodiscard]] double at(std::int64_t step) const {
    if (step < warm_up) return peak * static_cast<double>(step + 1) / static_cast<double>(warm_up);
    const double share = static_cast<double>(step - warm_up) /
                         static_cast<double>(std::max<std::int64_t>(1, steps - warm_up));
    const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * std::min(1.0, share)));
    return peak * (last_share + (1.0 - last_share) * cosine);
  }
};

}  // namespace training
