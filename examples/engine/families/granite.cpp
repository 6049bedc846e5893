#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Granite Team, "Granite 3.0 Language Models", 2024: LLaMA with multipliers.
const Family granite{
    "granite", "Granite", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields, {.begin_token = 1, .end_token = 2}, config);
      read_bias(fields, "attention_bias", false,
                {Role::query, Role::key, Role::value, Role::attention_output}, config);
      read_bias(fields, "mlp_bias", false, {Role::gate, Role::up, Role::down}, config);
      config.embedding_scale = fields.positive("embedding_multiplier", 1.0f);
      config.score_scale = fields.positive("attention_multiplier", 1.0f);
      config.residual_scale = fields.positive("residual_multiplier", 1.0f);
      config.logit_scale = 1.0f / fields.positive("logits_scaling", 1.0f);
    }};

}  // namespace engine
