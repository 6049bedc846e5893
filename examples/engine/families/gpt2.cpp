#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"
#include "engine/forward_limits.hpp"

namespace engine {

/// Radford et al., "Language Models are Unsupervised Multitask Learners", 2019: LayerNorm, learned
/// positions, a plain feed-forward half, and weights stored (in, out).
const Family gpt2{
    "gpt2", "GPT2", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.keys = {"n_embd", "n_inner", "n_layer", "n_head", "n_positions"},
                    .may_group_heads = false,
                    .may_size_heads = false,
                    .max_positions = 1024,
                    .epsilon_key = "layer_norm_epsilon",
                    .epsilon = 1e-5f,
                    .activation_key = "activation_function",
                    .activation = "gelu_new",
                    .turns = false,
                    .widening = 4,
                    .tied = true,
                    .begin_token = 50256,
                    .end_token = 50256},
                   config);
      config.norm.kind = NormDescription::Kind::layer;
      config.names = {.root = "transformer.",
                      .blocks = "h.",
                      .embedding = "wte",
                      .positions = "wpe.weight",
                      .final_norm = "ln_f",
                      .other_roots = {""}};
      const Index hidden = config.hidden_size;
      BlockDescription block = config.blocks.front();
      block.norm(NormPlace::attention_input) = "ln_1";
      block.norm(NormPlace::feed_forward_input) = "ln_2";
      block.linears = {
          fused_linear("attn.c_attn", Site::attention_input, hidden,
                       {{Role::query, hidden}, {Role::key, hidden}, {Role::value, hidden}}),
          make_linear("attn.c_proj", Site::attention_output, Role::attention_output, hidden,
                      hidden)};
      for (auto& linear : plain_linears(config, "mlp.c_fc", "mlp.c_proj"))
        block.linears.push_back(linear);
      for (LinearDescription& linear : block.linears) linear.transposed = linear.bias = true;
      set_blocks(config, block);
      if (fields.flag("scale_attn_by_inverse_layer_idx", false))
        ForwardLimits(config.not_computed)
            .add("scale_attn_by_inverse_layer_idx", "scores that each block scales");
      if (!fields.flag("scale_attn_weights", true)) config.score_scale = 1.0f;
    }};

}  // namespace engine
