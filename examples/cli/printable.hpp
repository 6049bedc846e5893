#pragma once

#include <string>

namespace cli {

/// Text of a file as a terminal may show it: control characters become '?',
/// so that it is one line.
[[nodiscard]] inline std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

}  // namespace cli
