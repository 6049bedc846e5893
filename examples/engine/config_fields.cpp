#include "engine/config_fields.hpp"

#include <cmath>
#include <cstdint>

namespace engine {

std::string field(const std::string& key) { return "the field \"" + key + "\""; }

Index ConfigFields::size(const char* key, std::optional<Index> fallback, Index limit) const {
  if (!has(key)) {
    if (fallback) return *fallback;
    throw pare::FormatError(field(key) + " is missing");
  }
  const auto& value = json_[key];
  const auto size = value.is_number_integer() ? value.get<std::int64_t>() : 0;
  if (size < 1 || size > limit)
    throw pare::FormatError(field(key) + " is " + value.dump() + ", not a size between 1 and " +
                            (limit == Index{1} << 31 ? "2^31" : std::to_string(limit)));
  return size;
}

float ConfigFields::positive(const char* key, std::optional<float> fallback) const {
  if (!has(key)) {
    if (fallback) return *fallback;
    throw pare::FormatError(field(key) + " is missing");
  }
  const auto& value = json_[key];
  if (!value.is_number() || !(value.get<float>() > 0.0f) || !std::isfinite(value.get<float>()))
    throw pare::FormatError(field(key) + " is " + value.dump() + ", not a positive number");
  return value.get<float>();
}

bool ConfigFields::flag(const char* key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!json_[key].is_boolean())
    throw pare::FormatError(field(key) + " is " + json_[key].dump() + ", neither true nor false");
  return json_[key].get<bool>();
}

std::optional<double> ConfigFields::number(const char* key) const {
  if (!has(key)) return std::nullopt;
  if (!json_[key].is_number())
    throw pare::FormatError(field(key) + " is " + json_[key].dump() + ", not a number");
  return json_[key].get<double>();
}

const nlohmann::json& ConfigFields::list(const char* key) const {
  if (!json_[key].is_array())
    throw pare::FormatError(field(key) + " is " + json_[key].dump() + ", not a list");
  return json_[key];
}

std::string ConfigFields::text(const char* key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  if (!json_[key].is_string())
    throw pare::FormatError(field(key) + " is " + json_[key].dump() + ", not a string");
  return json_[key].get<std::string>();
}

std::vector<Index> ConfigFields::tokens(const char* key, Index vocab_size,
                                        std::vector<std::string>& notices) const {
  std::vector<Index> ids;
  if (!has(key)) return ids;
  const auto& value = json_[key];
  for (const auto& id : value.is_array() ? value : nlohmann::json::array({value})) {
    if (!id.is_number_integer())
      throw pare::FormatError(field(key) + " is " + value.dump() +
                              ", neither a token nor a list of tokens");
    const auto token = id.get<std::int64_t>();
    const bool is_huge = id.is_number_unsigned() && token < 0;
    if (token >= vocab_size || is_huge)
      notices.push_back(std::string(key) + " " + id.dump() + " is outside the vocabulary of " +
                        std::to_string(vocab_size) + ": it never occurs");
    else if (token >= 0)
      ids.push_back(token);
  }
  return ids;
}

}  // namespace engine
