#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Bellagente et al., "Stable LM 2", 2024: LLaMA with LayerNorm, and a part of each head turns;
/// some add both halves at once and norm queries and keys.
const Family stablelm{
    "stablelm", "StableLm", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.may_size_heads = false,
                    .kv_heads = 32,
                    .max_positions = 4096,
                    .epsilon_key = "layer_norm_eps",
                    .epsilon = 1e-5f,
                    .rope = {.rotated_part = 0.25f, .may_be_partial = true},
                    .begin_token = 0,
                    .end_token = 0},
                   config);
      config.norm.kind = NormDescription::Kind::layer;
      read_bias(fields, "use_qkv_bias", false, {Role::query, Role::key, Role::value}, config);
      if (fields.flag("qk_layernorm", false))
        set_query_key_norms(config, QueryKeyNorm::own_of_heads, "self_attn.q_layernorm.norms",
                            "self_attn.k_layernorm.norms");
      if (fields.flag("use_parallel_residual", false)) share_input_of_halves(config);
    }};

}  // namespace engine
