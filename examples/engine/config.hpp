#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace engine {

using pare::Index;

/// The numbers of a LLaMA-family decoder, from a Hugging Face config.json.
struct ModelConfig {
  Index vocab_size = 0;
  Index hidden_size = 0;
  Index intermediate_size = 0;
  Index layers = 0;
  Index heads = 0;
  Index kv_heads = 0;
  Index head_dim = 0;
  Index max_positions = 0;
  float rms_norm_eps = 1e-6f;
  float rope_theta = 10000.0f;
  bool tied_embeddings = false;
  /// Put before a text, and the end of one; -1 for none.
  Index begin_token = -1, end_token = -1;

  [[nodiscard]] Index q_size() const noexcept { return heads * head_dim; }
  [[nodiscard]] Index kv_size() const noexcept { return kv_heads * head_dim; }
  /// A vocabulary of 256 reads and writes raw bytes.
  [[nodiscard]] bool is_byte_level() const noexcept { return vocab_size == 256; }
};

namespace detail {

[[nodiscard]] inline bool is_set(const nlohmann::json& config, const char* key) {
  return config.contains(key) && !config[key].is_null();
}

[[nodiscard]] inline Index read_size(const nlohmann::json& config, const char* key,
                                     std::optional<Index> fallback = {}) {
  if (!is_set(config, key)) {
    if (fallback) return *fallback;
    throw pare::FormatError(std::string("the field \"") + key + "\" is missing");
  }
  const auto& value = config[key];
  const auto size = value.is_number_integer() ? value.get<std::int64_t>() : 0;
  if (size < 1 || size > std::int64_t{1} << 31)
    throw pare::FormatError(std::string("the field \"") + key + "\" is " + value.dump() +
                            ", not a size between 1 and 2^31");
  return size;
}

[[nodiscard]] inline float read_positive(const nlohmann::json& config, const char* key,
                                         float fallback) {
  if (!is_set(config, key)) return fallback;
  const auto& value = config[key];
  if (!value.is_number() || !(value.get<float>() > 0.0f) || !std::isfinite(value.get<float>()))
    throw pare::FormatError(std::string("the field \"") + key + "\" is " + value.dump() +
                            ", not a positive number");
  return value.get<float>();
}

[[nodiscard]] inline bool read_flag(const nlohmann::json& config, const char* key, bool fallback) {
  if (!is_set(config, key)) return fallback;
  if (!config[key].is_boolean())
    throw pare::FormatError(std::string("the field \"") + key + "\" is " + config[key].dump() +
                            ", neither true nor false");
  return config[key].get<bool>();
}

[[nodiscard]] inline Index read_max_positions(const nlohmann::json& config) {
  return read_size(config, "max_position_embeddings", 2048);
}

/// Refuses what this engine would compute wrongly, naming the field.
inline void refuse_unsupported(const nlohmann::json& config) {
  const auto refuse = [](const std::string& field, const std::string& why) {
    throw pare::FormatError("the field \"" + field + "\" asks for " + why +
                            ", which this engine does not compute");
  };
  if (is_set(config, "model_type") && config["model_type"] != "llama" &&
      config["model_type"] != "mistral" && config["model_type"] != "qwen2")
    refuse("model_type", "the architecture " + config["model_type"].dump());
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!is_set(config, key) || config[key].empty()) continue;
    const auto& scaling = config[key];
    if (!scaling.is_object()) refuse(key, scaling.dump());
    for (const char* type : {"rope_type", "type"})
      if (is_set(scaling, type) && scaling[type] != "default")
        refuse(key, "rope type " + scaling[type].dump());
    for (const auto& [name, value] : scaling.items())
      if (name != "rope_type" && name != "type" && name != "rope_theta") refuse(key, name);
  }
  if (is_set(config, "sliding_window") && read_flag(config, "use_sliding_window", true)) {
    const Index window = read_size(config, "sliding_window");
    const Index max_positions = read_max_positions(config);
    if (window < max_positions)
      refuse("sliding_window", "attention to the last " + std::to_string(window) + " of " +
                                   std::to_string(max_positions) + " positions");
  }
  for (const char* key : {"num_local_experts", "num_experts", "n_routed_experts"})
    if (is_set(config, key) && config[key] != 0 && config[key] != 1)
      refuse(key, "a mixture of experts");
  for (const char* key : {"qk_norm", "use_qk_norm", "qk_layernorm"})
    if (read_flag(config, key, false)) refuse(key, "normalized queries and keys");
  if (is_set(config, "hidden_act") && config["hidden_act"] != "silu" &&
      config["hidden_act"] != "swish")
    refuse("hidden_act", "the activation " + config["hidden_act"].dump());
  if (is_set(config, "partial_rotary_factor") && config["partial_rotary_factor"] != 1.0)
    refuse("partial_rotary_factor", "rotating a part of each head");
}

}  // namespace detail

/// Reads config.json text. Throws FormatError naming the field that is missing, absurd or asks for
/// something this engine would compute wrongly.
[[nodiscard]] inline ModelConfig parse_config(const nlohmann::json& json) {
  using detail::read_size;
  if (!json.is_object()) throw pare::FormatError("the file is not a JSON object");
  detail::refuse_unsupported(json);
  ModelConfig config;
  config.vocab_size = read_size(json, "vocab_size");
  config.hidden_size = read_size(json, "hidden_size");
  config.intermediate_size = read_size(json, "intermediate_size");
  config.layers = read_size(json, "num_hidden_layers");
  config.heads = read_size(json, "num_attention_heads");
  config.kv_heads = read_size(json, "num_key_value_heads", config.heads);
  if (!detail::is_set(json, "head_dim") && config.hidden_size % config.heads != 0)
    throw pare::FormatError("the field \"num_attention_heads\" is " + std::to_string(config.heads) +
                            ", which does not divide hidden_size " +
                            std::to_string(config.hidden_size));
  config.head_dim = read_size(json, "head_dim", config.hidden_size / config.heads);
  config.max_positions = detail::read_max_positions(json);
  config.rms_norm_eps = detail::read_positive(json, "rms_norm_eps", 1e-6f);
  config.rope_theta = detail::read_positive(json, "rope_theta", 10000.0f);
  if (detail::is_set(json, "rope_parameters") && json["rope_parameters"].is_object())
    config.rope_theta =
        detail::read_positive(json["rope_parameters"], "rope_theta", config.rope_theta);
  config.tied_embeddings = detail::read_flag(json, "tie_word_embeddings", false);
  if (json.contains("bos_token_id") && json["bos_token_id"].is_number_integer())
    config.begin_token = json["bos_token_id"].get<Index>();
  if (json.contains("eos_token_id") && json["eos_token_id"].is_number_integer())
    config.end_token = json["eos_token_id"].get<Index>();
  if (config.begin_token >= config.vocab_size || config.end_token >= config.vocab_size)
    throw pare::FormatError(
        "the field \"bos_token_id\" or \"eos_token_id\" is outside the vocabulary of " +
        std::to_string(config.vocab_size));
  if (config.heads % config.kv_heads != 0)
    throw pare::FormatError(
        "the field \"num_key_value_heads\" is " + std::to_string(config.kv_heads) +
        ", which does not divide num_attention_heads " + std::to_string(config.heads));
  if (config.head_dim % 2 != 0)
    throw pare::FormatError("the field \"head_dim\" is odd: " + std::to_string(config.head_dim));
  return config;
}

}  // namespace engine
