#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// OLMo Team, "2 OLMo 2 Furious", 2024: LLaMA with norms behind its halves, not before, and norms
/// of whole queries and keys.
const Family olmo2{
    "olmo2", "Olmo2", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields, {.max_positions = 2048, .epsilon = 1e-5f, .end_token = 50279}, config);
      for_each_block(config, [](Index, BlockDescription& block) {
        block.norms = {};
        block.norm(NormPlace::attention_output) = "post_attention_layernorm";
        block.norm(NormPlace::feed_forward_output) = "post_feedforward_layernorm";
      });
      set_query_key_norms(config, QueryKeyNorm::whole_row, "self_attn.q_norm", "self_attn.k_norm");
      read_bias(fields, "attention_bias", false,
                {Role::query, Role::key, Role::value, Role::attention_output}, config);
    }};

}  // namespace engine
