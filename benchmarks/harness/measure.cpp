#include "harness/measure.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "harness/rivals.hpp"
#include "harness/threads.hpp"
#include "harness/timing.hpp"

namespace bench {
namespace {

using pare::Index;

constexpr std::size_t needed_triples = 9;
constexpr int most_triples = 45;
constexpr double limits_agree = 0.1, passes_agree = 0.15;
/// Rows of long passes: how many of them, and when they are enough.
constexpr std::size_t fewest_long_passes = 3;
constexpr double long_seconds = 2.5;
/// How far below its goal a ratio to a rival may stay: the noise of the median of seven pairs.
constexpr double ratio_tolerance = 0.03;

/// Runs the row and its read loop in passes of `runs` runs.
class Passes {
 public:
  Passes(const Row& row, const Workload& work) : row_(row), work_(work) {
    double first = seconds_of([&] { work_.run(use++); });
    if (first < 0.1) first = seconds_of([&] { work_.run(use++); });  // now warm
    runs_ = std::clamp<Index>(static_cast<Index>(1e-3 / first) + 1, 1, 100'000);
    if (has_reads()) choose_plan();
  }

  [[nodiscard]] bool has_reads() const { return static_cast<bool>(work_.reads); }

  /// Seconds of one run, over a pass.
  [[nodiscard]] double run() {
    return seconds_of([&] {
             for (Index i = 0; i < runs_; ++i) work_.run(use++);
           }) /
           static_cast<double>(runs_);
  }

  /// The same for the read loop.
  [[nodiscard]] double read() {
    return seconds_of([&] {
             for (Index i = 0; i < runs_; ++i) read_all(work_.reads(use++), row_.threads, plan_);
           }) /
           static_cast<double>(runs_);
  }

  Index use = 0;

 private:
  /// The fastest way to read these buffers: medians, as one lucky pass proves nothing.
  void choose_plan() {
    double best = 0.0;
    ReadPlan fastest;
    for (const ReadPlan plan : read_plans) {
      plan_ = plan;
      std::vector<double> seconds;
      for (int i = 0; i < 5; ++i) seconds.push_back(read());
      if (const double s = median(seconds); best == 0.0 || s < best) {
        best = s;
        fastest = plan;
      }
    }
    plan_ = fastest;
  }

  const Row& row_;
  const Workload& work_;
  Index runs_ = 1;
  ReadPlan plan_;
};

struct Triple {
  double before, pass, after;
  [[nodiscard]] bool agrees() const {
    return std::abs(before - after) <= limits_agree * std::max(before, after);
  }
  [[nodiscard]] double limit() const { return (before + after) / 2; }
};

void measure_triples(Passes& passes, Result& result) {
  std::vector<double> seconds, limits, shares;
  for (int i = 0; i < most_triples && seconds.size() < needed_triples; ++i) {
    const Triple t{passes.read(), passes.run(), passes.read()};
    if (!t.agrees()) continue;
    seconds.push_back(t.pass);
    limits.push_back(t.limit());
    shares.push_back(t.limit() / t.pass);
  }
  result.doubtful = seconds.size() < needed_triples || spread(seconds) > passes_agree;
  if (seconds.empty()) return;
  result.seconds = median(seconds);
  result.bandwidth = result.bytes / median(limits);
  result.share_of_bandwidth = median(shares);
}

/// Passes between measurements of the peak: neighbours on the same machine come and go in seconds.
void measure_against_peak(const Row& row, Passes& passes, Result& result) {
  std::vector<double> seconds, peaks, shares;
  double total = 0.0;
  const auto enough = [&] {
    return seconds.size() >= (total < long_seconds ? needed_triples : fewest_long_passes);
  };
  for (int i = 0; i < most_triples && !enough(); ++i) {
    const double before = measure_peak(row.peak, row.threads), pass = passes.run(),
                 after = measure_peak(row.peak, row.threads);
    total += pass;
    if (std::abs(before - after) > limits_agree * std::max(before, after)) continue;
    seconds.push_back(pass);
    peaks.push_back(std::max(before, after));
    shares.push_back(row.operations / pass / peaks.back());
  }
  result.doubtful = !enough() || spread(shares) > passes_agree;
  if (seconds.empty()) return;
  result.seconds = median(seconds);
  result.peak = median(peaks);
  result.share_of_peak = median(shares);
}

void measure_passes(Passes& passes, Result& result) {
  std::vector<double> seconds;
  double total = 0.0;
  while (seconds.size() < (total < long_seconds ? 9 : fewest_long_passes) ||
         (total < 0.05 && seconds.size() < 31)) {
    seconds.push_back(passes.run());
    total += seconds.back();
  }
  result.seconds = median(seconds);
  result.doubtful = spread(seconds) > passes_agree;
  if (!passes.has_reads()) return;
  result.bandwidth = result.bytes / median({passes.read(), passes.read(), passes.read()});
  result.share_of_bandwidth = result.bytes_per_second() / result.bandwidth;
}

void judge(Result& result) {
  const auto judge_one = [&](const std::string& name, double goal, double reached,
                             double tolerance = 0.0) {
    if (goal > 0.0)
      result.goals.push_back({name, goal, reached, reached > 0.0 && reached >= goal - tolerance});
  };
  const Row& row = result.row;
  judge_one("peak", row.goals.peak, result.share_of_peak);
  judge_one("bandwidth", row.goals.bandwidth, result.share_of_bandwidth);
  if (row.goals.seconds > 0.0)
    result.goals.push_back(
        {"seconds", row.goals.seconds, result.seconds, result.seconds <= row.goals.seconds});
  for (std::size_t i = 0; i < row.rivals.size(); ++i)
    judge_one(row.rivals[i].name, row.rivals[i].goal, result.rivals[i].ratio, ratio_tolerance);
  for (const Recorded& r : row.recorded) {
    const double share = r.of_bandwidth       ? result.share_of_bandwidth
                         : is_tiled(row.peak) ? result.operations_per_second() /
                                                    measure_peak(Peak::vnni, row.threads)
                                              : result.share_of_peak;
    const double ratio = share / r.share;
    if (ratio > 0.0)
      result.rivals.push_back({.name = r.name,
                               .version = "recorded",
                               .ratio = ratio,
                               .seconds = ratio * result.seconds,
                               .recorded = true});
    judge_one(r.name, r.goal, ratio, ratio_tolerance);
  }
}

/// Whether a peak is more than 10 % lower than others of this run: then shares of it look too good.
bool below_usual(const Row& row, double peak) {
  if (peak == 0.0) return false;
  static std::map<std::pair<Peak, int>, double> highest;
  double& known = highest[{row.peak, row.threads}];
  known = std::max(known, peak);
  return peak < (1.0 - limits_agree) * known;
}

}  // namespace

Result measure(const Row& row) {
  const Workload work = row.prepare();
  Result result;
  result.row = row;
  result.error = work.error;
  result.kernel = work.kernel;
  result.bytes = work.bytes;
  if (result.bytes == 0.0 && work.reads)
    result.bytes = static_cast<double>(total_bytes(work.reads(0)));

  Passes passes(row, work);
  if (row.goals.bandwidth > 0.0 && passes.has_reads()) measure_triples(passes, result);
  if (result.seconds == 0.0 && (row.goals.peak > 0.0 || is_tiled(row.peak)) &&
      measure_peak(row.peak, row.threads) > 0.0)
    measure_against_peak(row, passes, result);
  if (result.seconds == 0.0) measure_passes(passes, result);
  if (result.peak == 0.0) {
    result.peak = measure_peak(row.peak, row.threads);
    if (result.peak > 0.0) result.share_of_peak = result.operations_per_second() / result.peak;
  }
  if (below_usual(row, result.peak)) result.doubtful = true;

  result.rivals = measure_rivals(row, work, result.seconds, passes.use);
  judge(result);
  return result;
}

}  // namespace bench
