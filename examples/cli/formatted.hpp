#pragma once

#include <array>
#include <cstdarg>
#include <cstdio>
#include <string>

namespace cli {

/// What printf would print, of which the first 511 bytes.
[[gnu::format(printf, 1, 2)]] inline std::string formatted(const char* format, ...) {
  std::array<char, 512> buffer;
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer.data(), buffer.size(), format, arguments);
  va_end(arguments);
  return buffer.data();
}

}  // namespace cli
