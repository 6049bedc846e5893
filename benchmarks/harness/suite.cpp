#include "harness/suite.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "harness/machine.hpp"
#include "harness/measure.hpp"
#include "harness/peer_process.hpp"
#include "pare/core/error.hpp"
#include "pare/kernels/matmul_tuning.hpp"
#include "pare/kernels/memory_tuning.hpp"

namespace bench {
namespace {

void set_counters(benchmark::State& state, const Result& r) {
  const auto set = [&](const std::string& name, double value) {
    if (value > 0.0) state.counters[name] = value;
  };
  set("ops_per_second", r.operations_per_second());
  set("bytes_per_second", r.bytes_per_second());
  set("share_of_peak", r.share_of_peak);
  set("share_of_bandwidth", r.share_of_bandwidth);
  set("error", r.error);
  for (const RivalResult& x : r.rivals) set("vs_" + x.name, x.ratio);
  state.SetLabel(describe_goals(r.goals));
}

}  // namespace

std::string Row::name() const {
  std::string text = operation + "/" + variant;
  if (out > 0) text += "/" + std::to_string(out) + "x" + std::to_string(in);
  if (tokens > 0) text += "/tokens:" + std::to_string(tokens);
  text += "/threads:" + std::to_string(threads);
  return text + (memory == Memory::cold ? "/cold" : "/warm");
}

Suite::Suite(std::vector<Row> rows, bool quick) : rows_(std::move(rows)) {
  if (quick) std::erase_if(rows_, [](const Row& row) { return !row.quick; });
  for (const Row& row : rows_)
    benchmark::RegisterBenchmark(row.name().c_str(),
                                 [this, &row](benchmark::State& state) { run(state, row); })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

void Suite::run(benchmark::State& state, const Row& row) {
  try {
    for (auto _ : state) {
      results_.push_back(measure(row));
      state.SetIterationTime(results_.back().seconds);
    }
    set_counters(state, results_.back());
  } catch (const pare::Error& e) {
    state.SkipWithError(e.what());
  }
}

bool TableReporter::ReportContext(const Context&) {
  const Machine m = this_machine();
  std::printf("%s, %d cores, %.0f MiB L3, %s, %s\n", m.cpu.c_str(), m.cores, m.l3_bytes / (1 << 20),
              m.compiler.c_str(), m.date.c_str());
  std::printf("%s\n%s\n", to_string(pare::MatmulTuning{}).c_str(),
              to_string(pare::MemoryTuning{}).c_str());
  return true;
}

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs)
    if (run.error_occurred) {
      ++failed_;
      std::printf("%s: %s\n", run.benchmark_name().c_str(), run.error_message.c_str());
    }
  for (; printed_ < suite_.results().size(); ++printed_) {
    const Result& result = suite_.results()[printed_];
    const std::string& operation = result.row.operation;
    if (printed_ == 0 || suite_.results()[printed_ - 1].row.operation != operation) {
      std::vector<const Row*> rows;
      for (const Row& row : suite_.rows())
        if (row.operation == operation) rows.push_back(&row);
      table_.emplace(operation, rows);
    }
    table_->print(result);
  }
}

void TableReporter::Finalize() {
  int met = 0, missed = 0, open = 0;
  for (const Result& result : suite_.results())
    for (const GoalResult& goal : result.goals)
      ++(goal.reached == 0.0 ? open : goal.met ? met : missed);
  for (const auto& [name, version] : peer_versions())
    std::printf("%s %s\n", name.c_str(), version.c_str());
  const auto doubtful = std::count_if(suite_.results().begin(), suite_.results().end(),
                                      [](const Result& r) { return r.doubtful; });
  if (doubtful > 0)
    std::printf("?: %td rows of a busy machine, where limits or passes do not agree\n", doubtful);
  if (failed_ > 0) std::printf("rows that cannot run here: %d\n", failed_);
  std::printf("goals: %d met, %d missed, %d not measured\n", met, missed, open);
}

}  // namespace bench
