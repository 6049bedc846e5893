#pragma once

#include <string>
#include <vector>

#include "harness/row.hpp"

namespace bench {

/// What became of one of a row's goals.
struct GoalResult {
  std::string name;  ///< "peak", "bandwidth", "seconds" or a rival's name
  double goal = 0.0;
  double reached = 0.0;  ///< 0: not measured
  bool met = false;
};

/// How many times faster pare was; 0: not at hand.
struct RivalResult {
  std::string name;
  std::string version{};
  double ratio = 0.0;
  double seconds = 0.0;
  bool recorded = false;
  /// Why the ratio is missing.
  std::string reason{};
};

/// A measured row. Quantities that do not apply or could not be measured are 0.
struct Result {
  Row row;
  double seconds = 0.0;
  double bytes = 0.0;
  double error = -1.0;
  std::string kernel;
  double peak = 0.0;       ///< operations per second
  double bandwidth = 0.0;  ///< bytes per second of the read loop
  double share_of_peak = 0.0;
  double share_of_bandwidth = 0.0;
  /// The machine was busy: limits or passes measured one after the other do not agree.
  bool doubtful = false;
  std::vector<RivalResult> rivals;
  std::vector<GoalResult> goals;

  [[nodiscard]] double operations_per_second() const { return row.operations / seconds; }
  [[nodiscard]] double bytes_per_second() const { return bytes / seconds; }
};

}  // namespace bench
