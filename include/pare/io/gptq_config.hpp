#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/core/index.hpp"
#include "pare/io/quantization_config.hpp"
#include "pare/version.hpp"

namespace pare {

/// How a GPTQ checkpoint stores zero points.
enum class GptqVersion : std::uint8_t {
  v1,  ///< "gptq": zero - 1, in b bits; 0 cannot be stored safely
  v2   ///< "gptq_v2": zero
};

[[nodiscard]] constexpr std::string_view to_string(GptqVersion v) noexcept {
  return v == GptqVersion::v1 ? "gptq" : "gptq_v2";
}

/// What the field `dynamic` says of the layers whose names a pattern matches.
struct GptqOverride {
  std::string pattern;   ///< a regular expression, see gptq_layer_config
  bool skipped = false;  ///< not quantized
  std::optional<int> bits{};
  std::optional<Index> group_size{};
  std::optional<bool> sym{}, desc_act{};

  [[nodiscard]] std::string pattern_as_stored() const { return (skipped ? "-:" : "") + pattern; }

  friend bool operator==(const GptqOverride&, const GptqOverride&) = default;
};

/// The settings of a GPTQ checkpoint: `quantization_config` in config.json, and the same again as
/// quantize_config.json for older readers.
struct GptqConfig {
  int bits = 4;
  Index group_size = -1;
  bool sym = true;
  GptqVersion version = GptqVersion::v1;
  bool desc_act = false;
  bool static_groups = false;
  bool true_sequential = true;
  double damp_percent = 0.01;
  /// Settings that differ between layers. For the settings of a layer see gptq_layer_config.
  std::vector<GptqOverride> dynamic{};

  [[nodiscard]] nlohmann::json to_json() const {
    nlohmann::json json{
        {"bits", bits},
        {"group_size", group_size},
        {"sym", sym},
        {"desc_act", desc_act},
        {"static_groups", static_groups},
        {"true_sequential", true_sequential},
        {"damp_percent", damp_percent},
        {"lm_head", false},
        {"model_file_base_name", "model"},
        {"pack_dtype", "int32"},
        {"quant_method", "gptq"},
        {"method", "gptq"},
        {"checkpoint_format", to_string(version)},
        {"format", to_string(version)},
        {"meta",
         {{"quantizer", nlohmann::json::array({std::string("pare:") + pare::version})},
          {"damp_percent", damp_percent},
          {"static_groups", static_groups},
          {"true_sequential", true_sequential}}}};
    for (const GptqOverride& rule : dynamic) {
      nlohmann::json& fields = json["dynamic"][rule.pattern_as_stored()];
      fields = nlohmann::json::object();
      if (rule.bits) fields["bits"] = *rule.bits;
      if (rule.group_size) fields["group_size"] = *rule.group_size;
      if (rule.sym) fields["sym"] = *rule.sym;
      if (rule.desc_act) fields["desc_act"] = *rule.desc_act;
    }
    return json;
  }

  /// Accepts what AutoGPTQ and GPTQModel write. Throws FormatError naming the field for a layout
  /// that is not read here (marlin, gptq_p, ...).
  [[nodiscard]] static GptqConfig from_json(const nlohmann::json& json) {
    detail::require_method(json, "gptq");
    GptqConfig config;
    const auto bits = read_bits(json);
    if (!bits) throw FormatError("field \"bits\" is missing");
    config.bits = *bits;
    config.group_size = read_group_size(json).value_or(-1);
    config.sym = detail::flag_setting(json, {"sym"}).value_or(true);
    config.desc_act = detail::flag_setting(json, {"desc_act"}).value_or(false);

    const auto format =
        field_as<std::string>(json, {"checkpoint_format", "format"}).value_or("gptq");
    if (format != "gptq" && format != "gptq_v2")
      throw FormatError("checkpoint_format " + detail::in_quotes(format) +
                        " is not supported; gptq and gptq_v2 are");
    config.version = format == "gptq" ? GptqVersion::v1 : GptqVersion::v2;
    if (field_as<std::string>(json, {"pack_dtype"}).value_or("int32") != "int32")
      throw FormatError("field \"pack_dtype\" is not \"int32\"");
    if (detail::flag_setting(json, {"is_marlin_format"}).value_or(false))
      throw FormatError("field \"is_marlin_format\" asks for a layout that is not supported");
    if (const auto* rotation = find_field(json, {"rotation"}); rotation && !rotation->empty())
      throw FormatError("field \"rotation\" is not supported");
    config.dynamic = read_dynamic(json);

    const nlohmann::json none = nlohmann::json::object();
    const nlohmann::json* meta = find_field(json, {"meta"});
    for (const nlohmann::json* fields : {meta && meta->is_object() ? meta : &none, &json}) {
      config.static_groups =
          field_as<bool>(*fields, {"static_groups"}).value_or(config.static_groups);
      config.true_sequential =
          field_as<bool>(*fields, {"true_sequential"}).value_or(config.true_sequential);
      config.damp_percent =
          field_as<double>(*fields, {"damp_percent"}).value_or(config.damp_percent);
    }
    return config;
  }

  friend bool operator==(const GptqConfig&, const GptqConfig&) = default;

 private:
  [[nodiscard]] static std::optional<int> read_bits(const nlohmann::json& json) {
    const auto bits = detail::integer_setting(json, {"bits", "w_bit"});
    if (bits && *bits != 2 && *bits != 3 && *bits != 4 && *bits != 8)
      throw FormatError("field \"bits\" is " + std::to_string(*bits) +
                        ", but 2, 3, 4 or 8 can be read");
    return bits ? std::optional(static_cast<int>(*bits)) : std::nullopt;
  }

  [[nodiscard]] static std::optional<Index> read_group_size(const nlohmann::json& json) {
    const auto size = detail::integer_setting(json, {"group_size", "q_group_size"});
    if (size && (*size == 0 || *size < -1))
      throw FormatError("field \"group_size\" is " + std::to_string(*size) +
                        ", neither -1 nor positive");
    return size;
  }

  /// "+:pattern" or "pattern" overrides, "-:pattern" skips.
  [[nodiscard]] static std::vector<GptqOverride> read_dynamic(const nlohmann::json& json) {
    std::vector<GptqOverride> rules;
    const nlohmann::json* dynamic = find_field(json, {"dynamic"});
    if (!dynamic || dynamic->empty()) return rules;
    if (!dynamic->is_object()) throw FormatError("field \"dynamic\" is not an object");
    for (const auto& [key, fields] : dynamic->items()) {
      GptqOverride rule{.pattern = key, .skipped = key.starts_with("-:")};
      if (rule.skipped || key.starts_with("+:")) rule.pattern.erase(0, 2);
      with_context("field \"dynamic\": " + detail::in_quotes(key), [&, &fields = fields] {
        if (rule.skipped) return;
        if (!fields.is_object()) throw FormatError("the settings are not an object");
        rule.bits = read_bits(fields);
        rule.group_size = read_group_size(fields);
        rule.sym = detail::flag_setting(fields, {"sym"});
        rule.desc_act = detail::flag_setting(fields, {"desc_act"});
      });
      rules.push_back(std::move(rule));
    }
    std::sort(rules.begin(), rules.end(),
              [](const GptqOverride& a, const GptqOverride& b) { return a.pattern < b.pattern; });
    return rules;
  }
};

}  // namespace pare
