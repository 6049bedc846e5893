#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace engine {

using pare::Index;

/// The fields of a config.json, or of an object in it. Null counts as missing; FormatError names a
/// field with another type or value than can be. It remembers what was asked for, so that fields
/// that nobody followed can be found.
class ConfigFields {
 public:
  explicit ConfigFields(const nlohmann::json& json) : json_(json) {}

  [[nodiscard]] bool has(const char* key) const {
    asked_.insert(key);
    return json_.contains(key) && !json_[key].is_null();
  }
  /// False where null is said, too.
  [[nodiscard]] bool is_missing(const char* key) const { return !json_.contains(key); }
  [[nodiscard]] const nlohmann::json& operator[](const char* key) const { return json_.at(key); }
  [[nodiscard]] const nlohmann::json& json() const noexcept { return json_; }
  [[nodiscard]] bool was_asked_for(const std::string& key) const { return asked_.contains(key); }

  /// From 1 to `limit`.
  [[nodiscard]] Index size(const char* key, std::optional<Index> fallback = {},
                           Index limit = Index{1} << 31) const;
  [[nodiscard]] float positive(const char* key, std::optional<float> fallback = {}) const;
  [[nodiscard]] bool flag(const char* key, bool fallback) const;
  [[nodiscard]] std::optional<double> number(const char* key) const;
  /// One that is there.
  [[nodiscard]] const nlohmann::json& list(const char* key) const;
  [[nodiscard]] std::string text(const char* key, const std::string& fallback) const;
  /// Tokens, a number or a list of them; negative ones mean none. Those outside the vocabulary are
  /// left out and noted.
  [[nodiscard]] std::vector<Index> tokens(const char* key, Index vocab_size,
                                          std::vector<std::string>& notices) const;

 private:
  const nlohmann::json& json_;
  mutable std::set<std::string> asked_;
};

/// As messages name it: "the field "KEY"".
[[nodiscard]] std::string field(const std::string& key);

}  // namespace engine
