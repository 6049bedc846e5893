#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "pare/io/json.hpp"

namespace pare {

/// The quantization settings of a model and where they were found.
struct FoundQuantization {
  nlohmann::json settings;
  std::filesystem::path file;
  /// Contradictions between files, each in one line: what callers should tell.
  std::vector<std::string> notices{};
};

/// Which checkpoint layout the settings describe: "gptq", "awq", "pare" or what else they say.
/// Early AutoGPTQ files name none; `version: gemm` alone means AWQ. Settings of other tools that
/// name none are told by fields of their own.
[[nodiscard]] inline std::string quantization_method(const nlohmann::json& config) {
  if (const auto method = field_as<std::string>(config, {"quant_method", "method"})) return *method;
  if (find_field(config, {"load_in_4bit", "load_in_8bit", "_load_in_4bit", "_load_in_8bit",
                          "bnb_4bit_quant_type"}))
    return "bitsandbytes";
  if (find_field(config, {"config_groups"})) return "compressed-tensors";
  if (find_field(config, {"weight_block_size", "activation_scheme"})) return "fp8";
  if (find_field(config, {"quant_algo"})) return "modelopt";
  return find_field(config, {"version"}) ? "awq" : "gptq";
}

/// The name that settings give the file of weights ("gptq_model-4bit-128g"), without an ending;
/// empty where they give none.
[[nodiscard]] inline std::string model_file_base_name(const nlohmann::json& settings) {
  std::string name = field_as<std::string>(settings, {"model_file_base_name"}).value_or("");
  if (constexpr std::string_view ending = ".safetensors"; name.ends_with(ending))
    name.resize(name.size() - ending.size());
  return name;
}

namespace detail {

/// Settings on which a layer's meaning depends: their names, and what other tools call them.
inline constexpr std::pair<std::string_view, std::string_view> quantization_fields[] = {
    {"bits", "w_bit"},
    {"group_size", "q_group_size"},
    {"sym", "sym"},
    {"desc_act", "desc_act"},
    {"version", "version"},
    {"checkpoint_format", "format"},
    {"zero_point", "zero_point"},
    {"dynamic", "dynamic"}};

/// A setting in a message.
[[nodiscard]] inline std::string setting_text(const nlohmann::json& value) {
  if (value.is_string()) return in_quotes(value.get<std::string>());
  return value.is_primitive() ? value.dump() : "something else";
}

/// What `found`, from config.json, leaves open is taken from `other`; what both say differently is
/// noted. Another method's file says nothing about these weights.
inline void add_settings(FoundQuantization& found, const nlohmann::json& other,
                         const std::filesystem::path& file) {
  const auto note = [&](std::string_view field, const std::string& ours,
                        const std::string& theirs) {
    found.notices.push_back(file.string() + " says " + std::string(field) + " " + theirs + ", " +
                            found.file.filename().string() + " says " + ours +
                            ", which is followed");
  };
  const std::string method = quantization_method(found.settings);
  if (const std::string theirs = quantization_method(other); theirs != method)
    return note("quant_method", in_quotes(method), in_quotes(theirs));
  for (const auto& [name, synonym] : quantization_fields) {
    const nlohmann::json *ours = find_field(found.settings, {name, synonym}),
                         *theirs = find_field(other, {name, synonym});
    if (!theirs) continue;
    if (!ours)
      found.settings[std::string(name)] = *theirs;
    else if (*ours != *theirs)
      note(name, setting_text(*ours), setting_text(*theirs));
  }
  if (!find_field(found.settings, {"model_file_base_name"}))
    if (const nlohmann::json* name = find_field(other, {"model_file_base_name"}))
      found.settings["model_file_base_name"] = *name;
}

/// A number that some writers put in quotes, or end with ".0".
[[nodiscard]] inline std::optional<Index> integer_setting(
    const nlohmann::json& config, std::initializer_list<std::string_view> keys) {
  const nlohmann::json* value = find_field(config, keys);
  if (!value) return std::nullopt;
  if (value->is_string()) {
    const auto text = value->get<std::string>();
    const std::size_t sign = text.starts_with('-') ? 1 : 0;
    if (text.size() > sign && text.size() < 10 &&
        text.find_first_not_of("0123456789", sign) == std::string::npos)
      return std::stol(text);
  }
  if (value->is_number_float()) {
    const double number = value->get<double>();
    if (std::fabs(number) < 1e9 && number == std::floor(number)) return static_cast<Index>(number);
  }
  return field_as<Index>(config, keys);
}

/// A flag that some writers put in quotes, as Python or JSON spells it.
[[nodiscard]] inline std::optional<bool> flag_setting(
    const nlohmann::json& config, std::initializer_list<std::string_view> keys) {
  const nlohmann::json* value = find_field(config, keys);
  if (value && value->is_string()) {
    const auto text = value->get<std::string>();
    if (text == "true" || text == "True") return true;
    if (text == "false" || text == "False") return false;
  }
  return field_as<bool>(config, keys);
}

/// Throws FormatError unless the method is the one wanted.
inline void require_method(const nlohmann::json& config, const std::string& wanted) {
  if (const std::string method = quantization_method(config); method != wanted)
    throw FormatError("quant_method is " + in_quotes(method) + ", not \"" + wanted + "\"");
}

}  // namespace detail

/// The quantization settings that a model's directory holds: `quantization_config` in config.json,
/// else quantize_config.json or quant_config.json, as older tools write them. Where several are
/// there config.json wins, the others add what it leaves open, and contradictions are noted.
/// Nothing when the model is not quantized.
///
/// Errors    IoError and FormatError naming the file
[[nodiscard]] inline std::optional<FoundQuantization> find_quantization_config(
    const std::filesystem::path& directory) {
  std::error_code ignored;
  std::optional<FoundQuantization> found;
  const auto add = [&](const nlohmann::json& settings, const std::filesystem::path& file) {
    with_context(file.string(), [&] {
      if (!settings.is_object()) throw FormatError("the settings are not a JSON object");
      if (found)
        detail::add_settings(*found, settings, file);
      else
        found = {settings, file};
    });
  };
  if (const auto config = directory / "config.json"; std::filesystem::exists(config, ignored)) {
    const nlohmann::json all = read_json(config);
    const nlohmann::json* field = with_context(config.string(), [&] {
      return find_field(all, {"quantization_config", "compression_config"});
    });
    if (field) add(*field, config);
  }
  for (const char* name : {"quantize_config.json", "quant_config.json"})
    if (const auto file = directory / name; std::filesystem::exists(file, ignored))
      add(read_json(file), file);
  return found;
}

}  // namespace pare
