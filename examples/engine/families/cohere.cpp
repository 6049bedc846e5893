#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"
#include "engine/forward_limits.hpp"

namespace engine {

/// Cohere, Command R, 2024: both halves at once behind one LayerNorm without bias; neighbours turn.
const Family cohere{
    "cohere", "Cohere", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.max_positions = 8192,
                    .epsilon_key = "layer_norm_eps",
                    .epsilon = 1e-5f,
                    .rope = {.theta = 500000.0f, .neighbours = true},
                    .tied = true,
                    .begin_token = 5,
                    .end_token = 255001},
                   config);
      config.norm.kind = NormDescription::Kind::layer;
      config.logit_scale = fields.positive("logit_scale", 0.0625f);
      read_bias(fields, "attention_bias", false,
                {Role::query, Role::key, Role::value, Role::attention_output}, config);
      share_input_of_halves(config);
      if (fields.flag("use_qk_norm", false))
        ForwardLimits(config.not_computed).add("use_qk_norm", "normalized queries and keys");
    }};

}  // namespace engine
