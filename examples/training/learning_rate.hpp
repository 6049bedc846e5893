#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace training {

/// How a learning rate falls after its peak.
enum class RateFall : std::uint8_t { cosine, linear, none };

/// How fast is learned when: a straight way up, then half a cosine, or a straight way, down to a
/// share of the peak, or none.
struct LearningRate {
  double peak = 1e-3;
  std::int64_t warm_up = 20, steps = 100;
  double last_share = 0.05;
  RateFall fall = RateFall::cosine;

  /// At step `step` from 0.
  [[nodiscard]] double at(std::int64_t step) const {
    if (step < warm_up) return peak * static_cast<double>(step + 1) / static_cast<double>(warm_up);
    if (fall == RateFall::none) return peak;
    const double share =
        std::min(1.0, static_cast<double>(step - warm_up) /
                          static_cast<double>(std::max<std::int64_t>(1, steps - warm_up)));
    const double above =
        fall == RateFall::linear ? 1.0 - share : 0.5 * (1.0 + std::cos(std::numbers::pi * share));
    return peak * (last_share + (1.0 - last_share) * above);
  }
};

}  // namespace training
