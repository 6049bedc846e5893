#pragma once

#include <benchmark/benchmark.h>

#include <optional>
#include <vector>

#include "harness/result.hpp"
#include "harness/table.hpp"

namespace bench {

/// Hands rows to Google Benchmark and collects what they yield.
class Suite {
 public:
  /// With `quick` only the rows of that selection.
  Suite(std::vector<Row> rows, bool quick);
  Suite(const Suite&) = delete;
  Suite& operator=(const Suite&) = delete;

  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
  [[nodiscard]] const std::vector<Result>& results() const { return results_; }

 private:
  void run(benchmark::State& state, const Row& row);

  std::vector<Row> rows_;
  std::vector<Result> results_;
};

/// Prints a table per operation, row by row as they come, and says how many goals are met.
class TableReporter : public benchmark::BenchmarkReporter {
 public:
  explicit TableReporter(const Suite& suite) : suite_(suite) {}
  bool ReportContext(const Context&) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

 private:
  const Suite& suite_;
  std::optional<Table> table_;
  std::size_t printed_ = 0;
  int failed_ = 0;
};

}  // namespace bench
