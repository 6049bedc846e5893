#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "support/program.hpp"

namespace pare::test {

/// Files of a directory, which may be missing, whose names end in `extension`.
[[nodiscard]] inline int count_files(const std::filesystem::path& directory,
                                     const std::string& extension) {
  int count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error))
    count += entry.path().extension() == extension;
  return count;
}

/// Starts a run of `pare` that writes `out` and kills it when `files` parts of the output are
/// there; false when it was faster.
[[nodiscard]] inline bool killed_run(const std::vector<std::string>& command,
                                     const std::filesystem::path& out, const std::string& extension,
                                     int files) {
  const std::filesystem::path partial = std::filesystem::path(out) += ".partial";
  Program program(command);
  while (program.running() && count_files(partial, extension) < files)
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  program.kill();
  program.wait();
  return !exists(out) && count_files(partial, extension) >= files;
}

}  // namespace pare::test
