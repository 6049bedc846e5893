// error: an executor is two words at most
#include "pare/core/parallel.hpp"

struct Pool {
#ifdef PARE_MUST_FAIL
  long threads[4]{};
#else
  long* threads = nullptr;
#endif
  void operator()(pare::Index count, pare::ParallelFor::Body body) const {
    for (pare::Index i = 0; i < count; ++i) body(i);
  }
};

pare::ParallelFor parallel_for(const Pool& pool) { return pool; }
