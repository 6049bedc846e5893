#include "harness/rivals.hpp"

#include <algorithm>
#include <functional>

#include "harness/peer_process.hpp"
#include "harness/threads.hpp"
#include "harness/timing.hpp"

namespace bench {
namespace {

using pare::Index;

constexpr int pairs = 7;

/// Times of n runs after `warm_ups` that are not counted.
using TimedRuns = std::function<std::vector<double>(int n, int warm_ups)>;

TimedRuns timed_here(const std::function<void(Index)>& run, Index& use) {
  return [&run, &use](int n, int warm_ups) {
    for (int i = 0; i < warm_ups; ++i) run(use++);
    std::vector<double> seconds;
    for (int i = 0; i < n; ++i) seconds.push_back(seconds_of([&] { run(use++); }));
    return seconds;
  };
}

TimedRuns timed_there(PeerProcess& process) {
  return [&process](int n, int warm_ups) {
    std::vector<double> seconds = process.run(n + warm_ups);
    if (!seconds.empty()) seconds.erase(seconds.begin(), seconds.begin() + warm_ups);
    return seconds;
  };
}

/// Enough copies of the peer's own weights to be cold.
bool prepare(PeerProcess& process, const Row& row, const Rival& rival, const Workload& work,
             Index use) {
  PeerTask task{rival.operation, row.out, row.in, row.tokens, rival.group, row.threads};
  const auto reads = work.reads ? work.reads(use) : std::vector<Bytes>{};
  const Index guess = reads.empty() ? row.out * row.in * 4 : total_bytes(reads);
  task.copies = copies_needed(row.memory, guess);
  const Index bytes = process.prepare(task);
  if (bytes <= 0) return false;
  const Index needed = copies_needed(row.memory, bytes);
  if (needed <= task.copies) return true;
  task.copies = needed;
  return process.prepare(task) > 0;
}

/// Fills in ratio and seconds, unless the rival fails.
void compare(const TimedRuns& ours, const TimedRuns& theirs, double expected_seconds,
             RivalResult& result) {
  // A few milliseconds on either side.
  const int runs = std::clamp(static_cast<int>(0.01 / expected_seconds), 1, 50);
  // To wake threads and fill caches, which long runs hardly notice.
  const int warm_ups = expected_seconds < 0.1 ? 1 : 0;
  std::vector<double> ratios, seconds;
  for (int i = 0; i < pairs; ++i) {
    const double own = median(ours(runs, warm_ups));
    let_threads_sleep();
    const std::vector<double> other = theirs(runs, warm_ups);
    if (other.empty()) return;
    seconds.push_back(median(other));
    ratios.push_back(seconds.back() / own);
    let_threads_sleep();
  }
  result.ratio = median(ratios);
  result.seconds = median(seconds);
}

}  // namespace

std::vector<RivalResult> measure_rivals(const Row& row, const Workload& work, double seconds,
                                        Index& use) {
  std::vector<RivalResult> results;
  const TimedRuns ours = timed_here(work.run, use);
  for (const Rival& rival : row.rivals) {
    RivalResult result{rival.name};
    if (rival.operation.empty()) {
      const auto function = work.rivals.find(rival.name);
      if (function == work.rivals.end())
        result.reason = "not available";
      else
        compare(ours, timed_here(function->second, use), seconds, result);
    } else {
      PeerProcess& process = peer(rival.name);
      if (process.alive() && prepare(process, row, rival, work, use)) {
        let_threads_sleep();
        compare(ours, timed_there(process), seconds, result);
      }
      result.version = process.version();
      result.reason = process.failure();
    }
    results.push_back(result);
  }
  return results;
}

}  // namespace bench
