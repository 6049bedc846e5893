#include "harness/threads.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "pare/core/thread_pool.hpp"

namespace bench {

pare::ParallelFor parallel_for(int threads) {
  if (threads == 1) return {};
  static std::map<int, pare::ThreadPool> pools;
  return pools.try_emplace(threads, threads).first->second;
}

int default_threads() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 2);
}

void let_threads_sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(3)); }

}  // namespace bench
