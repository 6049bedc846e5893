#pragma once

#include <cstdio>
#include <exception>

#include "pare/core/thread_pool.hpp"
#include "pare/kernels/execution.hpp"

namespace lab {

/// Runs a lab on all cores, and says what went wrong. Returns what main does.
template <class Run>
int program(const char* name, const Run& run) {
  try {
    pare::ThreadPool pool;
    run(pare::Execution{.parallel_for = pool});
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace lab
