#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "pare/core/error.hpp"

namespace cli {

/// Keeps the numbers of standard files that a caller has closed from being given to files that are
/// opened later, whose content would then mix with what is printed. Writing to them fails.
inline void reserve_standard_files() noexcept {
  for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(file, F_GETFD) < 0) (void)::open("/dev/null", O_RDONLY);
}

/// Brings what was printed to where it goes. Throws IoError when any of it was lost: a full disk
/// behind a redirection. For the end of a program, and to stop early what prints for long.
inline void flush_standard_output() {
  const bool failed_before = std::ferror(stdout) != 0;
  errno = 0;
  if (std::fflush(stdout) == 0 && !failed_before) return;
  const int reason = errno;
  throw pare::IoError("standard output: cannot write" +
                      (reason ? ": " + std::generic_category().message(reason) : ""));
}

}  // namespace cli
