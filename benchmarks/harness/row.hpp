#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "harness/peak.hpp"
#include "harness/read_bandwidth.hpp"
#include "harness/rotation.hpp"
#include "pare/core/index.hpp"

namespace bench {

/// What a row compares itself with by time, in interleaved pairs.
struct Rival {
  std::string name;
  /// The goal: at least this many times faster; 0 states no goal.
  double goal = 0.0;
  /// A peer worker's operation and group size (-1: one per row). Without an operation the rival
  /// is a function of Workload::rivals.
  std::string operation{};
  pare::Index group = -1;
};

/// A rival that cannot run here, known by the share of the limit it reached on another machine.
struct Recorded {
  std::string name;
  double share = 0.0;
  double goal = 0.0;
  /// Of the peak without AMX, or of the read bandwidth.
  bool of_bandwidth = false;
};

/// Least shares of the limits, most seconds of one run; 0 states no goal.
struct Goals {
  double peak = 0.0;
  double bandwidth = 0.0;
  double seconds = 0.0;
};

/// A row's data and functions, alive while it is measured. `use` counts runs: rotate by it.
struct Workload {
  std::function<void(pare::Index use)> run;
  /// What `run(use)` reads of the weights; empty where bandwidth says nothing.
  std::function<std::vector<Bytes>(pare::Index use)> reads{};
  /// Moved by a run; 0: as many as `reads` has.
  double bytes = 0.0;
  /// Against the same operation in float, relative; negative: not applicable.
  double error = -1.0;
  /// Which kernel runs, as `describe` says.
  std::string kernel{};
  std::map<std::string, std::function<void(pare::Index use)>> rivals{};
};

/// One line of a table.
struct Row {
  std::string operation;
  std::string variant;
  /// 0 where an operation has no such thing.
  pare::Index out = 0, in = 0, tokens = 0;
  int threads = 2;
  Memory memory = Memory::warm;
  /// One shape per goal belongs to the quick selection.
  bool quick = false;
  /// Of one run, multiplications and additions; bytes are counted from Workload::reads.
  double operations = 0.0;
  Peak peak = Peak::none;
  Goals goals{};
  std::vector<Rival> rivals{};
  std::vector<Recorded> recorded{};
  /// Called when the row's turn comes; what it makes is freed after the row.
  std::function<Workload()> prepare{};

  /// operation/variant/out x in/tokens:n/threads:n/warm: what --benchmark_filter sees.
  [[nodiscard]] std::string name() const;
};

/// The rows of a program: each operation's file defines this function, the harness calls it.
[[nodiscard]] std::vector<Row> benchmark_rows();

}  // namespace bench
