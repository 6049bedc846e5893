#include "engine/families/gemma.hpp"

#include <cmath>

#include "engine/families/list.hpp"
#include "engine/forward_limits.hpp"

namespace engine {

void read_gemma(const ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config) {
  read_decoder(fields, defaults, config);
  config.norm.kind = NormDescription::Kind::rms_plus_one;
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden_size));
  read_bias(fields, "attention_bias", false,
            {Role::query, Role::key, Role::value, Role::attention_output}, config);
  if (fields.flag("use_bidirectional_attention", false))
    ForwardLimits(config.not_computed)
        .add("use_bidirectional_attention", "attention to the positions that follow");
}

void read_gemma_of_four_norms(const ConfigFields& fields, const DecoderDefaults& defaults,
                              ModelConfig& config) {
  read_gemma(fields, defaults, config);
  for_each_block(config, [](Index, BlockDescription& block) {
    block.norm(NormPlace::attention_output) = "post_attention_layernorm";
    block.norm(NormPlace::feed_forward_input) = "pre_feedforward_layernorm";
    block.norm(NormPlace::feed_forward_output) = "post_feedforward_layernorm";
  });
  config.score_scale = 1.0f / std::sqrt(fields.positive("query_pre_attn_scalar", 256.0f));
}

/// Gemma Team, "Gemma", 2024: LLaMA with norms that multiply by 1 + w, scaled embeddings and GELU.
const Family gemma{"gemma", "Gemma", [](const ConfigFields& fields, ModelConfig& config) {
                     read_gemma(fields,
                                {.kv_heads = 16,
                                 .head_dim = 256,
                                 .max_positions = 8192,
                                 .activation = "gelu_pytorch_tanh",
                                 .tied = true,
                                 .begin_token = 2,
                                 .end_token = 1},
                                config);
                     // Early files say "gelu" and mean the approximation, which the weights were
                     // trained with.
                     if (config.activation == Activation::gelu)
                       config.activation = Activation::gelu_tanh;
                     // An older name of the same, which not all readers follow.
                     const std::string other =
                         fields.text("hidden_activation", "gelu_pytorch_tanh");
                     if (other != "gelu_pytorch_tanh" && other != fields.text("hidden_act", ""))
                       ForwardLimits(config.not_computed)
                           .add("hidden_activation", "the activation \"" + other + "\"");
                   }};

}  // namespace engine
