#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Yang et al., "Qwen3 Technical Report", 2025: LLaMA with norms of each head's query and key.
const Family qwen3{
    "qwen3", "Qwen3", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields, {.kv_heads = 32, .head_dim = 128, .max_positions = 32768}, config);
      set_query_key_norms(config, QueryKeyNorm::shared_by_heads, "self_attn.q_norm",
                          "self_attn.k_norm");
      read_bias(fields, "attention_bias", false,
                {Role::query, Role::key, Role::value, Role::attention_output}, config);
      read_windows_of_last_blocks(fields, config);
    }};

}  // namespace engine
