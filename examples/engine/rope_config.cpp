#include "engine/rope_config.hpp"

#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/forward_limits.hpp"
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
      if (!has(name)) continue;
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

  [[nodiscard]] bool has(const char* name) const {
    return settings_.contains(name) && !settings_[name].is_null();
  }
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
    return ConfigFields(settings_).flag(name, fallback);
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

void read_kind(const ConfigFields& fields, const RopeSettings& settings, Index max_positions,
               RopeParameters& p) {
  const auto all_positions = static_cast<double>(max_positions);
  const auto original =
      static_cast<double>(fields.size("original_max_position_embeddings", max_positions));
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

/// `key` is the field that `settings` come from, null where there are none.
RopeParameters read(const ConfigFields& fields, const char* key, const Json& settings,
                    const RopeDefaults& defaults, ModelConfig& config) {
  ForwardLimits limits(config.not_computed);
  RopeParameters p;
  p.neighbours = defaults.neighbours;
  p.theta = fields.positive(defaults.theta_key, defaults.theta);
  float part = fields.positive(defaults.part_key, defaults.rotated_part);
  if (key) {
    const ConfigFields own(settings);
    const float theta = own.positive("rope_theta", p.theta);
    if (fields.has(defaults.theta_key) && theta != p.theta)
      config.notices.push_back(
          std::string(defaults.theta_key) + " is " + fields[defaults.theta_key].dump() + ", but " +
          key + " has another, " + settings["rope_theta"].dump() + ", which is followed");
    p.theta = theta;
    part = own.positive("partial_rotary_factor", part);
  }
  if (part != 1.0f && !defaults.may_be_partial)
    limits.add(fields.has(defaults.part_key) || !key ? defaults.part_key : key,
               "rotating a part of each head");
  p.rotated = static_cast<Index>(static_cast<float>(config.head_dim) * part);
  if (part > 1.0f || p.rotated % 2 != 0 || p.rotated == 0)
    throw pare::FormatError(field(defaults.part_key) + " rotates " + std::to_string(p.rotated) +
                            " of " + std::to_string(config.head_dim) +
                            " elements of a head, which are no pairs");
  if (key) {
    const RopeSettings kind_settings(key, settings, limits);
    p.kind = kind_settings.kind();
    read_kind(fields, kind_settings, config.max_positions, p);
  }
  return p;
}

}  // namespace

bool has_ropes_by_type(const ConfigFields& fields) {
  if (!fields.has("rope_parameters") || !fields["rope_parameters"].is_object()) return false;
  for (const auto& [name, value] : fields["rope_parameters"].items())
    if (value.is_object()) return true;
  return false;
}

RopeParameters read_rope_of_type(const ConfigFields& fields, const char* type,
                                 const RopeDefaults& defaults, ModelConfig& config) {
  const Json& all = fields["rope_parameters"];
  if (!all.contains(type) || !all[type].is_object())
    throw pare::FormatError(field("rope_parameters") + " has no \"" + type + "\"");
  return read(fields, "rope_parameters", all[type], defaults, config);
}

RopeParameters read_rope(const ConfigFields& fields, const RopeDefaults& defaults,
                         ModelConfig& config) {
  const char* found = nullptr;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!fields.has(key)) continue;
    if (fields[key].is_object() && fields[key].empty()) continue;
    if (!fields[key].is_object())
      throw pare::FormatError(field(key) + " is " + fields[key].dump() + ", not an object");
    for (const auto& [name, value] : fields[key].items())
      if (value.is_object())
        ForwardLimits(config.not_computed)
            .add(key, "rotations that differ by layer (" + name + ")");
    found = key;
  }
  return read(fields, found, found ? fields[found] : Json(), defaults, config);
}

}  // namespace engine
