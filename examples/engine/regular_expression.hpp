#pragma once

#include <regex>
#include <string>

namespace engine {

/// An ECMAScript expression whose matching takes time in proportion to the text where the standard
/// library can do so (libstdc++, unless it refers back): expressions come from files of others, and
/// backtracking would take ages for some. Throws std::regex_error, also for one of more than 4096
/// characters: the library recurses.
[[nodiscard]] inline std::regex compile_expression(const std::string& pattern) {
  if (pattern.size() > 4096) throw std::regex_error(std::regex_constants::error_complexity);
#if defined(__GLIBCXX__)
  try {
    return std::regex(pattern, std::regex::ECMAScript | std::regex_constants::__polynomial);
  } catch (const std::regex_error& error) {
    if (error.code() != std::regex_constants::error_complexity) throw;
  }
#endif
  return std::regex(pattern, std::regex::ECMAScript);
}

}  // namespace engine
