#pragma once

#include <regex>
#include <string>

namespace cli {

/// An expression that whole names of layers match (ECMAScript). `source` is the option or field
/// that it comes from: "--layers". Throws ArgumentError naming it.
[[nodiscard]] std::regex compile_layer_expression(const std::string& source,
                                                  const std::string& expression);

}  // namespace cli
