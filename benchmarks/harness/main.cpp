/// The main function of every benchmark program. Beside Google Benchmark's options:
///
///     --quick        only one shape per goal
///     --json=FILE    adds the rows to a report for scripts/plot-bench

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "harness/json_report.hpp"
#include "harness/suite.hpp"
#include "pare/core/error.hpp"

int main(int argc, char** argv) try {
  bool quick = false;
  std::string json;
  std::vector<char*> others;
  for (int i = 0; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--quick")
      quick = true;
    else if (argument.rfind("--json=", 0) == 0)
      json = argument.substr(7);
    else
      others.push_back(argv[i]);
  }
  int count = static_cast<int>(others.size());
  benchmark::Initialize(&count, others.data());
  if (benchmark::ReportUnrecognizedArguments(count, others.data())) return 1;

  bench::Suite suite(bench::benchmark_rows(), quick);
  bench::TableReporter table(suite);
  benchmark::RunSpecifiedBenchmarks(&table);
  if (!json.empty() && !suite.results().empty()) bench::write_json(json, suite.results());
  return 0;
} catch (const pare::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
