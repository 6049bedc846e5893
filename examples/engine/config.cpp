#include "engine/config.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/config_fields.hpp"
#include "engine/forward_limits.hpp"
#include "engine/rope_config.hpp"

namespace engine {
namespace {

/// What a family's configuration means where it says nothing, as transformers' classes have it.
struct FamilyDefaults {
  std::string_view model_type, architecture;
  std::optional<Index> kv_heads;  // none: as many as heads
  Index max_positions;
  std::optional<Index> sliding_window;
  bool uses_sliding_window;  // unless use_sliding_window says otherwise
  Index max_window_layers;   // the first of the layers with a window
  bool attention_bias;       // of queries, keys and values
  Index begin_token, end_token;
};

constexpr std::array<FamilyDefaults, 3> families{{
    {"llama", "LlamaForCausalLM", {}, 2048, {}, true, 0, false, 1, 2},
    {"mistral", "MistralForCausalLM", 8, 131072, 4096, true, 0, false, 1, 2},
    {"qwen2", "Qwen2ForCausalLM", 32, 32768, 4096, false, 28, true, -1, -1},
}};

/// The family by model_type, else by the first of the architectures; LLaMA where nothing is said.
const FamilyDefaults& family_of(const nlohmann::json& config) {
  const auto refuse = [](const char* key, const nlohmann::json& value) -> const FamilyDefaults& {
    throw pare::FormatError(field(key) + " asks for the architecture " + value.dump() +
                            ", which this engine does not know: llama, mistral and qwen2 it does");
  };
  if (is_set(config, "model_type")) {
    for (const FamilyDefaults& family : families)
      if (config["model_type"] == family.model_type) return family;
    return refuse("model_type", config["model_type"]);
  }
  if (is_set(config, "architectures") && config["architectures"].is_array() &&
      !config["architectures"].empty()) {
    for (const FamilyDefaults& family : families)
      if (config["architectures"][0] == family.architecture) return family;
    return refuse("architectures", config["architectures"][0]);
  }
  return families[0];
}

/// The windows of layers; `layer_types` says it where it is there.
void read_windows(const nlohmann::json& json, const FamilyDefaults& family, ModelConfig& config,
                  ForwardLimits& limits) {
  std::optional<Index> window = family.sliding_window;
  if (json.contains("sliding_window"))
    window = is_set(json, "sliding_window") ? std::optional(read_size(json, "sliding_window"))
                                            : std::nullopt;
  config.windows.assign(static_cast<std::size_t>(config.layers), no_window);
  if (is_set(json, "layer_types") && json["layer_types"].is_array()) {
    const auto& types = json["layer_types"];
    for (std::size_t i = 0; i < types.size(); ++i) {
      if (types[i] == "sliding_attention") {
        if (window && i < config.windows.size()) config.windows[i] = *window;
      } else if (types[i] != "full_attention") {
        limits.add("layer_types", "layers of type " + types[i].dump());
      }
    }
    return;
  }
  const bool used = read_flag(json, "use_sliding_window", family.uses_sliding_window);
  if (!window || !used) return;
  Index first = 0;
  if (family.max_window_layers > 0 &&
      !(is_set(json, "max_window_layers") && json["max_window_layers"] == 0))
    first = read_size(json, "max_window_layers", family.max_window_layers);
  for (Index i = first; i < config.layers; ++i)
    config.windows[static_cast<std::size_t>(i)] = *window;
}

/// What a forward pass would compute wrongly, and nothing else would.
void read_forward_limits(const nlohmann::json& json, const FamilyDefaults& family,
                         ModelConfig& config) {
  ForwardLimits limits(config.not_computed);
  config.rope = read_rope(json, config.head_dim, config.max_positions, limits, config.notices);
  for (const char* key : {"qk_norm", "use_qk_norm", "qk_layernorm"})
    if (read_flag(json, key, false)) limits.add(key, "normalized queries and keys");
  if (is_set(json, "hidden_act") && json["hidden_act"] != "silu" && json["hidden_act"] != "swish")
    limits.add("hidden_act", "the activation " + json["hidden_act"].dump());
  read_windows(json, family, config, limits);
}

void read_tokens(const nlohmann::json& json, const FamilyDefaults& family, ModelConfig& config) {
  const auto read = [&](const char* key, Index fallback) {
    auto ids = read_token_ids(json, key, config.vocab_size, config.notices);
    // Bytes have no special tokens unless someone gives them some.
    if (!json.contains(key) && fallback >= 0 && fallback < config.vocab_size &&
        !config.is_byte_level())
      ids.push_back(fallback);
    return ids;
  };
  if (const auto begin = read("bos_token_id", family.begin_token); !begin.empty())
    config.begin_token = begin.front();
  config.end_tokens = read("eos_token_id", family.end_token);
  (void)read("pad_token_id", -1);
}

}  // namespace

std::vector<Index> read_token_ids(const nlohmann::json& json, const char* key, Index vocab_size,
                                  std::vector<std::string>& notices) {
  std::vector<Index> ids;
  if (!is_set(json, key)) return ids;
  const nlohmann::json list = json[key].is_array() ? json[key] : nlohmann::json::array({json[key]});
  for (const auto& id : list) {
    if (!id.is_number_integer())
      throw pare::FormatError(field(key) + " is " + json[key].dump() +
                              ", neither a token nor a list of tokens");
    const auto token = id.get<std::int64_t>();
    const bool is_huge = id.is_number_unsigned() && token < 0;
    if (token >= vocab_size || is_huge)
      notices.push_back(std::string(key) + " " + id.dump() + " is outside the vocabulary of " +
                        std::to_string(vocab_size) + ": it never occurs");
    else if (token >= 0)
      ids.push_back(token);
  }
  return ids;
}

void ModelConfig::require_forward() const {
  if (!not_computed.empty())
    throw pare::FormatError(not_computed + "; inspect and quantize --method rtn need none of it");
}

ModelConfig parse_config(const nlohmann::json& json) {
  if (!json.is_object()) throw pare::FormatError("the file is not a JSON object");
  const FamilyDefaults& family = family_of(json);
  for (const char* key : {"num_local_experts", "num_experts", "n_routed_experts"})
    if (is_set(json, key) && json[key] != 0 && json[key] != 1)
      throw pare::FormatError(field(key) +
                              " asks for a mixture of experts, which this engine does not know");
  ModelConfig config;
  config.vocab_size = read_size(json, "vocab_size");
  config.hidden_size = read_size(json, "hidden_size");
  config.intermediate_size = read_size(json, "intermediate_size");
  config.layers = read_size(json, "num_hidden_layers");
  config.heads = read_size(json, "num_attention_heads");
  // Said to be null it is as many as heads, in every family.
  const bool kv_heads_open = !json.contains("num_key_value_heads") && family.kv_heads;
  config.kv_heads =
      read_size(json, "num_key_value_heads", kv_heads_open ? *family.kv_heads : config.heads);
  if (!is_set(json, "head_dim") && config.hidden_size % config.heads != 0)
    throw pare::FormatError("the field \"num_attention_heads\" is " + std::to_string(config.heads) +
                            ", which does not divide hidden_size " +
                            std::to_string(config.hidden_size));
  config.head_dim = read_size(json, "head_dim", config.hidden_size / config.heads);
  config.max_positions = read_size(json, "max_position_embeddings", family.max_positions);
  config.rms_norm_eps = read_positive(json, "rms_norm_eps", 1e-6f);
  config.tied_embeddings = read_flag(json, "tie_word_embeddings", false);
  const bool own_bias = read_flag(json, "attention_bias", false);
  config.attention_bias = family.attention_bias || own_bias;
  config.output_bias = !family.attention_bias && own_bias;
  config.mlp_bias = read_flag(json, "mlp_bias", false);
  read_tokens(json, family, config);
  if (config.head_dim % 2 != 0)
    throw pare::FormatError("the field \"head_dim\" is odd: " + std::to_string(config.head_dim));
  read_forward_limits(json, family, config);
  if (config.heads % config.kv_heads != 0)
    throw pare::FormatError(
        "the field \"num_key_value_heads\" is " + std::to_string(config.kv_heads) +
        (kv_heads_open ? ", the family's default" : "") +
        ", which does not divide num_attention_heads " + std::to_string(config.heads));
  return config;
}

}  // namespace engine
