#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "support/temporary_directory.hpp"

namespace pare::test {

/// Bytes of every file of a directory and those in it, by name.
[[nodiscard]] inline std::map<std::string, std::string> directory_content(
    const std::filesystem::path& directory) {
  std::map<std::string, std::string> content;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      content[std::filesystem::relative(entry.path(), directory).string()] =
          read_text(entry.path());
  return content;
}

}  // namespace pare::test
