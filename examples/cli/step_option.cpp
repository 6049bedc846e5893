#include "cli/step_option.hpp"

#include <cstdint>
#include <limits>

#include "pare/core/index.hpp"

namespace cli {
namespace {

using Json = nlohmann::json;

std::string_view kind_text(OptionKind kind) {
  switch (kind) {
    case OptionKind::integer:
      return "an integer";
    case OptionKind::number:
      return "a number";
    case OptionKind::flag:
      return "true or false";
    case OptionKind::rules:
      return "a list of rules";
    case OptionKind::text:
      break;
  }
  return "a text";
}

bool has_kind(const Json& value, OptionKind kind) {
  switch (kind) {
    case OptionKind::integer:
      return value.is_number_integer() &&
             (!value.is_number_unsigned() ||
              value.get<std::uint64_t>() <=
                  static_cast<std::uint64_t>(std::numeric_limits<pare::Index>::max()));
    case OptionKind::number:
      return value.is_number();
    case OptionKind::flag:
      return value.is_boolean();
    case OptionKind::rules:
      return value.is_array();
    case OptionKind::text:
      break;
  }
  return value.is_string();
}

}  // namespace

void require_kind(const std::string& field, const Json& value, OptionKind kind) {
  if (!has_kind(value, kind))
    throw pare::ArgumentError("the field \"" + field + "\" is " +
                              value.dump(-1, ' ', true, Json::error_handler_t::replace) + ", not " +
                              std::string(kind_text(kind)));
}

}  // namespace cli
