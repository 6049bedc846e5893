#include "engine/config_fields.hpp"

#include <cmath>
#include <cstdint>

#include "pare/core/error.hpp"

namespace engine {

std::string field(const char* key) { return std::string("the field \"") + key + "\""; }

Index read_size(const nlohmann::json& config, const char* key, std::optional<Index> fallback) {
  if (!is_set(config, key)) {
    if (fallback) return *fallback;
    throw pare::FormatError(field(key) + " is missing");
  }
  const auto& value = config[key];
  const auto size = value.is_number_integer() ? value.get<std::int64_t>() : 0;
  if (size < 1 || size > std::int64_t{1} << 31)
    throw pare::FormatError(field(key) + " is " + value.dump() + ", not a size between 1 and 2^31");
  return size;
}

float read_positive(const nlohmann::json& config, const char* key, float fallback) {
  if (!is_set(config, key)) return fallback;
  const auto& value = config[key];
  if (!value.is_number() || !(value.get<float>() > 0.0f) || !std::isfinite(value.get<float>()))
    throw pare::FormatError(field(key) + " is " + value.dump() + ", not a positive number");
  return value.get<float>();
}

bool read_flag(const nlohmann::json& config, const char* key, bool fallback) {
  if (!is_set(config, key)) return fallback;
  if (!config[key].is_boolean())
    throw pare::FormatError(field(key) + " is " + config[key].dump() + ", neither true nor false");
  return config[key].get<bool>();
}

}  // namespace engine
