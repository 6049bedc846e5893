#pragma once

/// PARE_ASSERT(condition): what an inner loop assumes of its callers. Checked only where
/// PARE_ASSERTIONS is defined, for the whole of a program: our own debug builds do.
#if defined(PARE_ASSERTIONS)

#include <cstdio>
#include <cstdlib>

namespace pare::detail {

[[noreturn]] inline void assertion_failed(const char* condition, const char* file,
                                          int line) noexcept {
  std::fprintf(stderr, "%s:%d: pare assumes %s\n", file, line, condition);
  std::abort();
}

}  // namespace pare::detail

#define PARE_ASSERT(condition)        \
  ((condition) ? static_cast<void>(0) \
               : ::pare::detail::assertion_failed(#condition, __FILE__, __LINE__))

#else
#define PARE_ASSERT(condition) static_cast<void>(sizeof((condition) ? 1 : 0))
#endif
