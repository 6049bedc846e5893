#include "engine/rope_config.hpp"

#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/config_fields.hpp"
#include "pare/core/error.hpp"

namespace engine {
namespace {

using Json = nlohmann::json;
using Kind = RopeParameters::Kind;

constexpr std::pair<std::string_view, Kind> kinds[]{
    {"default", Kind::plain}, {"linear", Kind::linear}, {"dynamic", Kind::dynamic},
    {"llama3", Kind::llama3}, {"yarn", Kind::yarn},     {"longrope", Kind::longrope}};

/// The settings of one of the fields, with what is wrong with them.
class RopeSettings {
 public:
  RopeSettings(const char* key, const Json& settings, ForwardLimits& limits)
      : key_(key), settings_(settings), limits_(limits) {}

  /// Its kind; `rope_type` before the older `type`.
  [[nodiscard]] Kind kind() const {
    std::string type = "default";
    for (const char* name : {"type", "rope_type"}) {
      if (!is_set(settings_, name)) continue;
      if (!settings_[name].is_string())
        throw pare::FormatError(field(key_) + ": \"" + name + "\" is " + settings_[name].dump() +
                                ", not a string");
      if (settings_[name] != "default") type = settings_[name].get<std::string>();
    }
    for (const auto& [name, kind] : kinds)
      if (name == type) return kind;
    limits_.add(key_, "rope type \"" + type + "\"");
    return Kind::plain;
  }

  [[nodiscard]] bool has(const char* name) const { return is_set(settings_, name); }
  [[nodiscard]] std::optional<double> number(const char* name) const {
    if (!has(name)) return std::nullopt;
    if (!settings_[name].is_number())
      throw pare::FormatError(field(key_) + ": \"" + name + "\" is " + settings_[name].dump() +
                              ", not a number");
    return settings_[name].get<double>();
  }
  [[nodiscard]] double positive(const char* name, std::optional<double> fallback) const {
    const std::optional<double> value = number(name);
    if (!value && !fallback) {
      limits_.add(key_, std::string("positions without \"") + name + "\"");
      return 1.0;
    }
    const double result = value.value_or(fallback.value_or(1.0));
    if (!(result > 0.0) || !std::isfinite(result))
      throw pare::FormatError(field(key_) + ": \"" + name + "\" is " + settings_[name].dump() +
                              ", not positive");
    return result;
  }
  [[nodiscard]] bool flag(const char* name, bool fallback) const {
    return read_flag(settings_, name, fallback);
  }
  /// One positive number for each frequency.
  [[nodiscard]] std::vector<double> list(const char* name, Index count) const {
    const auto fail = [&]() -> std::vector<double> {
      throw pare::FormatError(field(key_) + ": \"" + name + "\" is no list of " +
                              std::to_string(count) + " positive numbers");
    };
    if (!has(name) || !settings_[name].is_array() ||
        settings_[name].size() != static_cast<std::size_t>(count))
      return fail();
    std::vector<double> numbers;
    for (const Json& value : settings_[name]) {
      if (!value.is_number() || !(value.get<double>() > 0.0)) return fail();
      numbers.push_back(value.get<double>());
    }
    return numbers;
  }

 private:
  const char* key_;
  const Json& settings_;
  ForwardLimits& limits_;
};

/// 0.1 c ln(s) + 1: what keeps the spread of scores as it was.
double yarn_magnitude(double factor, double c) {
  return factor <= 1.0 ? 1.0 : 0.1 * c * std::log(factor) + 1.0;
}

double magnitude_of(const RopeParameters& p, const RopeSettings& settings, double max_positions) {
  if (settings.has("attention_factor")) return settings.positive("attention_factor", 1.0);
  if (p.kind == Kind::yarn) {
    const double scale = settings.number("mscale").value_or(0.0);
    const double all = settings.number("mscale_all_dim").value_or(0.0);
    return scale != 0.0 && all != 0.0
               ? yarn_magnitude(p.factor, scale) / yarn_magnitude(p.factor, all)
               : yarn_magnitude(p.factor, 1.0);
  }
  const double stretched = settings.has("factor") ? p.factor : max_positions / p.original_positions;
  return stretched <= 1.0 ? 1.0
                          : std::sqrt(1.0 + std::log(stretched) / std::log(p.original_positions));
}

void read_kind(const Json& json, const RopeSettings& settings, Index max_positions,
               RopeParameters& p) {
  const auto all_positions = static_cast<double>(max_positions);
  const double original =
      is_set(json, "original_max_position_embeddings")
          ? static_cast<double>(read_size(json, "original_max_position_embeddings"))
          : all_positions;
  switch (p.kind) {
    case Kind::plain:
      return;
    case Kind::linear:
      p.factor = settings.positive("factor", {});
      return;
    case Kind::dynamic:
      p.factor = settings.positive("factor", {});
      p.original_positions = all_positions;
      return;
    case Kind::llama3:
      p.factor = settings.positive("factor", {});
      p.low_frequency_factor = settings.positive("low_freq_factor", {});
      p.high_frequency_factor = settings.positive("high_freq_factor", {});
      p.original_positions = settings.positive("original_max_position_embeddings", original);
      return;
    case Kind::yarn:
      p.factor = settings.positive("factor", {});
      p.original_positions = settings.positive("original_max_position_embeddings", original);
      p.beta_fast = settings.positive("beta_fast", 32.0);
      p.beta_slow = settings.positive("beta_slow", 1.0);
      p.truncate = settings.flag("truncate", true);
      break;
    case Kind::longrope:
      p.factor = settings.positive("factor", 1.0);
      p.original_positions = settings.positive("original_max_position_embeddings", original);
      p.short_factors = settings.list("short_factor", p.rotated / 2);
      p.long_factors = settings.list("long_factor", p.rotated / 2);
      break;
  }
  p.magnitude = static_cast<float>(magnitude_of(p, settings, all_positions));
}

}  // namespace

RopeParameters read_rope(const Json& json, Index head_dim, Index max_positions,
                         ForwardLimits& limits, std::vector<std::string>& notices) {
  RopeParameters p;
  p.theta = read_positive(json, "rope_theta", 10000.0f);
  float part = read_positive(json, "partial_rotary_factor", 1.0f);
  const char* found = nullptr;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!is_set(json, key) || json[key].empty()) continue;
    if (!json[key].is_object())
      throw pare::FormatError(field(key) + " is " + json[key].dump() + ", not an object");
    for (const auto& [name, value] : json[key].items())
      if (value.is_object()) limits.add(key, "rotations that differ by layer (" + name + ")");
    found = key;
  }
  if (found) {
    const Json& settings = json[found];
    const float theta = read_positive(settings, "rope_theta", p.theta);
    if (is_set(json, "rope_theta") && theta != p.theta)
      notices.push_back("rope_theta is " + json["rope_theta"].dump() + ", but " + found +
                        " has another, " + settings["rope_theta"].dump() + ", which is followed");
    p.theta = theta;
    part = read_positive(settings, "partial_rotary_factor", part);
  }
  // None of the known families does.
  if (part != 1.0f)
    limits.add(is_set(json, "partial_rotary_factor") ? "partial_rotary_factor" : found,
               "rotating a part of each head");
  p.rotated = static_cast<Index>(static_cast<float>(head_dim) * part);
  if (part > 1.0f || p.rotated % 2 != 0 || p.rotated == 0)
    throw pare::FormatError(field("partial_rotary_factor") + " rotates " +
                            std::to_string(p.rotated) + " of " + std::to_string(head_dim) +
                            " elements of a head, which are no pairs");
  if (found) {
    const RopeSettings settings(found, json[found], limits);
    p.kind = settings.kind();
    read_kind(json, settings, max_positions, p);
  }
  return p;
}

}  // namespace engine
