#include "engine/families/experts.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Yang et al., "Qwen3 Technical Report", 2025: Qwen3 with experts in some blocks.
const Family qwen3_moe{
    "qwen3_moe", "Qwen3Moe", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields, {.kv_heads = 4, .max_positions = 32768}, config);
      set_query_key_norms(config, QueryKeyNorm::shared_by_heads, "self_attn.q_norm",
                          "self_attn.k_norm");
      read_bias(fields, "attention_bias", false,
                {Role::query, Role::key, Role::value, Role::attention_output}, config);
      read_qwen_experts(fields, 128, 8, 768, config);
      const bool slides = fields.flag("use_sliding_window", false);
      if (slides) read_windows(fields, 4096, config, [](Index) { return true; });
    }};

}  // namespace engine
