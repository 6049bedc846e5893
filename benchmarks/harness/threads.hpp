#pragma once

#include "pare/core/parallel.hpp"

namespace bench {

/// The threads that rows, peaks and read loops share: one pool per number, kept to the end.
[[nodiscard]] pare::ParallelFor parallel_for(int threads);

/// 2, where the machine has them: the goals are for two threads.
[[nodiscard]] int default_threads();

/// Waits until idle workers sleep and leave their cores to another program.
void let_threads_sleep();

}  // namespace bench
