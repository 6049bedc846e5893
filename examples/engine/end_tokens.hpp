#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "engine/config.hpp"
#include "engine/config_fields.hpp"
#include "engine/warnings.hpp"
#include "pare/io/json.hpp"

namespace engine {

/// The tokens that end a text: eos_token_id of generation_config.json where that file has the
/// field (null: none), else of config.json, as transformers decides it. Says so when they differ.
///
/// Errors    IoError and FormatError naming the file
[[nodiscard]] inline std::vector<Index> end_tokens(const std::filesystem::path& directory,
                                                   const ModelConfig& config) {
  const std::filesystem::path file = directory / "generation_config.json";
  if (std::error_code ignored; !std::filesystem::exists(file, ignored)) return config.end_tokens;
  const nlohmann::json json = pare::read_json(file);
  return pare::with_context(file.string(), [&] {
    if (!json.is_object()) throw pare::FormatError("the file is not a JSON object");
    if (!json.contains("eos_token_id")) return config.end_tokens;
    std::vector<std::string> notices;
    std::vector<Index> ids = ConfigFields(json).tokens("eos_token_id", config.vocab_size, notices);
    for (const std::string& notice : notices) warn_once(file.string() + ": " + notice);
    const auto sorted = [](std::vector<Index> tokens) {
      std::sort(tokens.begin(), tokens.end());
      return tokens;
    };
    if (!config.end_tokens.empty() && sorted(ids) != sorted(config.end_tokens))
      warn_once(file.string() + ": eos_token_id is " + json["eos_token_id"].dump() +
                ", config.json has another; generation_config.json is followed");
    return ids;
  });
}

}  // namespace engine
