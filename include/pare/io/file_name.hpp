#pragma once

#include <string_view>

namespace pare {

/// True for the name of a file in its directory. A checkpoint that names its own files is checked
/// with this: it must not reach for other files of the machine.
[[nodiscard]] constexpr bool is_file_name(std::string_view name) noexcept {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

}  // namespace pare
