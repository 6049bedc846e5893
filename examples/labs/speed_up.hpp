#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

namespace lab {

/// How many times faster `run` is than `other`: the median of pairs, one right after the other; of
/// a single pair for a glance.
[[nodiscard]] inline double speed_up(const std::function<void()>& run,
                                     const std::function<void()>& other, bool in_part = false) {
  const auto seconds = [](const std::function<void()>& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> ratios;
  for (int pair = 0; pair < (in_part ? 1 : 7); ++pair) {
    const double own = seconds(run);
    ratios.push_back(seconds(other) / own);
  }
  std::nth_element(ratios.begin(), ratios.begin() + std::ssize(ratios) / 2, ratios.end());
  return ratios[ratios.size() / 2];
}

}  // namespace lab
