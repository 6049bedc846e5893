#pragma once

#include <cstddef>

#include "pare/core/index.hpp"

namespace bench {

/// A loop that does nothing but read and write memory: what bounds elementwise kernels.
struct CopyLoop {
  const void* from;
  void* to;
  /// 64-byte lines read and written in each step.
  int lines_read, lines_written;
  pare::Index steps;
  /// Stores past the caches; else ordinary ones.
  bool streaming = false;
};

void run(const CopyLoop& loop, int threads);

}  // namespace bench
