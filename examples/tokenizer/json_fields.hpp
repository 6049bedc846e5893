#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "pare/io/json.hpp"
#include "tokenizer/id.hpp"

/// Fields of a tokenizer.json. FormatError names one that is missing or of another type.
namespace tokenizer {

[[nodiscard]] inline std::string in_quotes(std::string_view text) {
  std::string shown = "\"";
  return (shown += text) += "\"";
}

[[nodiscard]] inline const nlohmann::json& required(const nlohmann::json& object, const char* key) {
  const nlohmann::json* value = pare::find_field(object, {key});
  if (!value) throw pare::FormatError("field " + in_quotes(key) + " is missing");
  return *value;
}

template <class T>
[[nodiscard]] T required_as(const nlohmann::json& object, const char* key) {
  (void)required(object, key);
  return *pare::field_as<T>(object, {key});
}

[[nodiscard]] inline const nlohmann::json& required_list(const nlohmann::json& object,
                                                         const char* key) {
  const nlohmann::json& value = required(object, key);
  if (!value.is_array()) throw pare::FormatError("field " + in_quotes(key) + " is not a list");
  return value;
}

[[nodiscard]] inline bool flag(const nlohmann::json& object, const char* key, bool otherwise) {
  return pare::field_as<bool>(object, {key}).value_or(otherwise);
}

/// Refuses a field that would change results if it were left out of account.
inline void refuse_field(const nlohmann::json& object, const char* key) {
  const nlohmann::json* value = pare::find_field(object, {key});
  const bool is_nothing = !value || *value == false || *value == 0.0 || *value == "";
  if (!is_nothing) throw pare::FormatError("field " + in_quotes(key) + " is not supported");
}

/// A token's number, below 2^31.
[[nodiscard]] inline Id to_id(const nlohmann::json& value) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= (std::uint64_t{1} << 31) - 1)
    throw pare::FormatError(value.is_number() ? value.dump() + " is not the number of a token"
                                              : std::string("the number of a token is missing"));
  return static_cast<Id>(value.get<std::uint64_t>());
}

}  // namespace tokenizer
