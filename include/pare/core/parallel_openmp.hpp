#pragma once

#include <omp.h>

#include <exception>

#include "pare/core/error.hpp"
#include "pare/core/parallel.hpp"

namespace pare {

/// Runs loops on OpenMP threads; include only in programs compiled with -fopenmp.
///
///     matmul(x, weights, y, {.parallel_for = OpenMpFor(4)});
///
/// Iterations are dealt out in contiguous blocks. Of several exceptions the one from the lowest
/// iteration leaves the loop.
class OpenMpFor {
 public:
  /// `threads` 0 means as many as OpenMP offers. Throws ArgumentError when negative.
  explicit OpenMpFor(int threads = 0) : threads_(threads > 0 ? threads : omp_get_max_threads()) {
    if (threads < 0)
      throw ArgumentError("the number of threads is negative: " + std::to_string(threads));
  }

  [[nodiscard]] int threads() const noexcept { return threads_; }

  void operator()(Index count, ParallelFor::Body body) const {
    std::exception_ptr failure;
    Index failed_at = count;
#pragma omp parallel for schedule(static) num_threads(threads_) if (count > 1)
    for (Index i = 0; i < count; ++i) {
      try {
        body(i);
      } catch (...) {
#pragma omp critical(pare_openmp_for)
        if (i < failed_at) {
          failed_at = i;
          failure = std::current_exception();
        }
      }
    }
    if (failure) std::rethrow_exception(failure);
  }

 private:
  int threads_;
};

}  // namespace pare
