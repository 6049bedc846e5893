#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "pare/io/mapped_file.hpp"

namespace lab {

/// A text of bytes as token ids.
[[nodiscard]] inline std::vector<std::int32_t> read_ids(const std::filesystem::path& file) {
  const pare::MappedFile mapped(file);
  std::vector<std::int32_t> ids;
  for (const std::byte b : mapped.bytes()) ids.push_back(static_cast<std::int32_t>(b));
  return ids;
}

/// The text that models are measured on, or, for a glance, its first part.
[[nodiscard]] inline std::string read_text(const std::filesystem::path& file,
                                           bool in_part = false) {
  const pare::MappedFile mapped(file);
  std::string text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  if (in_part) text.resize(std::min<std::size_t>(text.size(), 8193));
  return text;
}

}  // namespace lab
