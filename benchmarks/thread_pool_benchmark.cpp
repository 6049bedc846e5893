/// What it costs to hand a loop to the threads of pare::ThreadPool and to wait for them.

#include <atomic>
#include <functional>
#include <memory>

#include "harness/row.hpp"
#include "harness/threads.hpp"
#include "pare/core/parallel.hpp"

namespace bench {
namespace {

using pare::Index;

Row region_row(const char* variant, std::function<Workload(int threads)> prepare) {
  Row row{.operation = "thread_pool", .variant = variant};
  row.threads = default_threads();
  row.quick = true;
  row.goals.seconds = 2e-6;
  row.prepare = [prepare, threads = row.threads] { return prepare(threads); };
  return row;
}

/// The caller may be through with a loop before another thread has noticed it.
Workload empty_region(int threads) {
  return {.run = [run = parallel_for(threads), threads](Index) { run(threads, [](Index) {}); }};
}

/// Every thread waits inside the loop until all are there.
Workload meeting_region(int threads) {
  auto arrived = std::make_shared<std::atomic<Index>>(0);
  return {.run = [run = parallel_for(threads), threads, arrived](Index use) {
    run(threads, [&](Index) {
      arrived->fetch_add(1);
      while (arrived->load() < threads * (use + 1)) {
      }
    });
  }};
}

}  // namespace

std::vector<Row> benchmark_rows() {
  return {region_row("empty region", empty_region),
          region_row("region where all meet", meeting_region)};
}

}  // namespace bench
