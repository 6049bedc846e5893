#pragma once

#include <regex>
#include <string>

#include "engine/regular_expression.hpp"
#include "pare/core/error.hpp"

namespace engine {

/// True when a regular expression (ECMAScript) matches at the beginning of a layer's name. Throws
/// FormatError when it is none.
[[nodiscard]] inline bool matches_layer(const std::string& pattern, const std::string& layer) {
  try {
    return std::regex_search(layer, compile_expression(pattern),
                             std::regex_constants::match_continuous);
  } catch (const std::regex_error&) {
    throw pare::FormatError("field \"dynamic\": \"" + pattern +
                            "\" is not a regular expression that can be read");
  }
}

}  // namespace engine
