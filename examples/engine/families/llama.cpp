#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Touvron et al., "LLaMA", 2023. The block that other decoders are compared with.
const Family llama{
    "llama", "Llama", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields, {.begin_token = 1, .end_token = 2}, config);
      set_bias(config, {Role::query, Role::key, Role::value, Role::attention_output},
               fields.flag("attention_bias", false));
      set_bias(config, {Role::gate, Role::up, Role::down}, fields.flag("mlp_bias", false));
    }};

}  // namespace engine
