#include "cli/layer_expression.hpp"

#include <nlohmann/json.hpp>

#include "engine/regular_expression.hpp"
#include "pare/core/error.hpp"

namespace cli {

std::regex compile_layer_expression(const std::string& source, const std::string& expression) {
  try {
    (void)nlohmann::json(expression).dump();  // as saved models hold it
    return engine::compile_expression(expression);
  } catch (const nlohmann::json::exception&) {
    throw pare::ArgumentError(source + ": the expression is not UTF-8");
  } catch (const std::regex_error& error) {
    throw pare::ArgumentError(source + ": \"" + expression +
                              "\" is no regular expression: " + error.what());
  }
}

}  // namespace cli
