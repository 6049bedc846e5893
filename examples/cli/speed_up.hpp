#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "harness/timing.hpp"

namespace cli {

/// How many times faster one model is than another. Both ran in pairs, one right after the other,
/// so that a machine that is busy for a while slows both.
struct SpeedUp {
  double ratio = 1.0;
  /// Whether the first and the last half of the pairs agree within `steady_share`: if not, the
  /// machine changed faster than a pair takes, and `ratio` says little.
  bool steady = true;

  static constexpr double steady_share = 0.15;
  /// Two in each half.
  static constexpr std::size_t fewest_pairs = 4;
};

/// The median of `ratios` (the other's seconds over the model's, a pair each, in the order in which
/// they ran). Fewer than `fewest_pairs` are not steady. The middle one of an odd number is in
/// neither half.
[[nodiscard]] inline SpeedUp speed_up(const std::vector<double>& ratios) {
  SpeedUp result{.ratio = bench::median(ratios), .steady = false};
  if (ratios.size() < SpeedUp::fewest_pairs) return result;
  const auto half = static_cast<std::ptrdiff_t>(ratios.size() / 2);
  const auto [slow, fast] = std::minmax(bench::median({ratios.begin(), ratios.begin() + half}),
                                        bench::median({ratios.end() - half, ratios.end()}));
  result.steady = fast <= slow * (1.0 + SpeedUp::steady_share);
  return result;
}

}  // namespace cli
