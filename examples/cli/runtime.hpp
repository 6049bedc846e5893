#pragma once

#include "pare/core/thread_pool.hpp"
#include "pare/kernels/execution.hpp"

namespace cli {

/// What a command computes with: threads, and scratch memory that all its steps share.
class Runtime {
 public:
  /// 0 threads are all cores.
  explicit Runtime(int threads) : pool_(threads) {}

  [[nodiscard]] int threads() const noexcept { return pool_.threads(); }
  /// Valid as long as this.
  [[nodiscard]] pare::Execution execution() noexcept {
    return {.parallel_for = pool_, .workspace = &workspace_};
  }

 private:
  pare::ThreadPool pool_;
  pare::Workspace workspace_;
};

}  // namespace cli
