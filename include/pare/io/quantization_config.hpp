#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "pare/io/json.hpp"

namespace pare {

/// The quantization settings that a model's directory holds, looked for as the tools that read
/// such models do: quantize_config.json, quant_config.json, then `quantization_config` in
/// config.json. Nothing when the model is not quantized. Throws IoError and FormatError.
[[nodiscard]] inline std::optional<nlohmann::json> find_quantization_config(
    const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const char* name : {"quantize_config.json", "quant_config.json"})
    if (std::filesystem::exists(directory / name, ignored)) return read_json(directory / name);
  const std::filesystem::path config = directory / "config.json";
  if (!std::filesystem::exists(config, ignored)) return std::nullopt;
  return with_context(config.string(), [&]() -> std::optional<nlohmann::json> {
    const nlohmann::json all = read_json(config);
    if (const nlohmann::json* field = find_field(all, {"quantization_config"})) return *field;
    return std::nullopt;
  });
}

/// Which checkpoint layout the settings describe: "gptq", "awq", "pare" or what else they say.
/// Early AutoGPTQ files name none; `version: gemm` alone means AWQ.
[[nodiscard]] inline std::string quantization_method(const nlohmann::json& config) {
  if (const auto method = field_as<std::string>(config, {"quant_method", "method"})) return *method;
  return find_field(config, {"version"}) ? "awq" : "gptq";
}

namespace detail {

/// Throws FormatError unless the method is the one wanted.
inline void require_method(const nlohmann::json& config, const std::string& wanted) {
  if (const std::string method = quantization_method(config); method != wanted)
    throw FormatError("quant_method is " + in_quotes(method) + ", not \"" + wanted + "\"");
}

}  // namespace detail

}  // namespace pare
