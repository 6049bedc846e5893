#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Touvron et al., "LLaMA", 2023. The block that other decoders are compared with.
const Family llama{
    "llama", "Llama", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields, {.begin_token = 1, .end_token = 2}, config);
      config.keys.heads_divide_hidden = true;
      read_bias(fields, "attention_bias", false,
                {Role::query, Role::key, Role::value, Role::attention_output}, config);
      read_bias(fields, "mlp_bias", false, {Role::gate, Role::up, Role::down}, config);
    }};

}  // namespace engine
