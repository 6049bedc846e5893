#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "support/temporary_directory.hpp"

namespace pare::test {

/// Bytes of every file of a directory, by name.
[[nodiscard]] inline std::map<std::string, std::string> directory_content(
    const std::filesystem::path& directory) {
  std::map<std::string, std::string> content;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    content[entry.path().filename().string()] = read_text(entry.path());
  return content;
}

}  // namespace pare::test
