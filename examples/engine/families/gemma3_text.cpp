#include "engine/families/gemma.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Gemma Team, "Gemma 3", 2025: Gemma 2 with norms of queries and keys in place of caps; blocks
/// with a window turn by another theta than those without.
const Family gemma3_text{
    "gemma3_text", "Gemma3", [](const ConfigFields& fields, ModelConfig& config) {
      DecoderDefaults defaults{.kv_heads = 4,
                               .head_dim = 256,
                               .max_positions = 131072,
                               .activation_key = "hidden_activation",
                               .activation = "gelu_pytorch_tanh",
                               .rope = {.theta = 1e6f},
                               .tied = true,
                               .begin_token = 2,
                               .end_token = 1};
      defaults.ropes_by_type = has_ropes_by_type(fields);
      read_gemma_of_four_norms(fields, defaults, config);
      config.keys.heads_divide_hidden = true;
      set_query_key_norms(config, QueryKeyNorm::shared_by_heads, "self_attn.q_norm",
                          "self_attn.k_norm");
      config.score_cap = read_cap(fields, "attn_logit_softcapping", 0.0f);
      config.logit_cap = read_cap(fields, "final_logit_softcapping", 0.0f);
      const Index period =
          fields.size(fields.has("sliding_window_pattern") ? "sliding_window_pattern"
                                                           : "_sliding_window_pattern",
                      6);
      read_windows(fields, 4096, config, [&](Index block) { return (block + 1) % period != 0; });
      if (defaults.ropes_by_type) {
        config.ropes = {read_rope_of_type(fields, "full_attention", {.theta = 1e6f}, config),
                        read_rope_of_type(fields, "sliding_attention", {}, config)};
      } else {
        RopeParameters local{.theta = fields.positive("rope_local_base_freq", 10000.0f)};
        local.rotated = config.ropes.front().rotated;
        config.ropes.push_back(local);
      }
      for_each_block(config, [](Index, BlockDescription& block) {
        block.rope = block.window == no_window ? 0 : 1;
      });
    }};

}  // namespace engine
