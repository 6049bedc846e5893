#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "pare/core/index.hpp"

/// Fields of a config.json. Null counts as missing; FormatError names a field with another type or
/// value than can be.
namespace engine {

using pare::Index;

[[nodiscard]] inline bool is_set(const nlohmann::json& config, const char* key) {
  return config.contains(key) && !config[key].is_null();
}
[[nodiscard]] inline bool is_number(const nlohmann::json& value, double number) {
  return value.is_number() && value.get<double>() == number;
}

/// As messages name it.
[[nodiscard]] std::string field(const char* key);

/// From 1 to 2^31.
[[nodiscard]] Index read_size(const nlohmann::json& config, const char* key,
                              std::optional<Index> fallback = {});
[[nodiscard]] float read_positive(const nlohmann::json& config, const char* key, float fallback);
[[nodiscard]] bool read_flag(const nlohmann::json& config, const char* key, bool fallback);

}  // namespace engine
