#include <algorithm>

#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Bakouch et al., "SmolLM3", 2025: LLaMA that turns nothing in every fourth block.
const Family smollm3{
    "smollm3", "SmolLM3", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.kv_heads = 4,
                    .max_positions = 32768,
                    .rope = {.theta = 2e6f},
                    .tied = true,
                    .begin_token = 128000,
                    .end_token = 128001},
                   config);
      read_bias(fields, "attention_bias", false,
                {Role::query, Role::key, Role::value, Role::attention_output}, config);
      read_bias(fields, "mlp_bias", false, {Role::gate, Role::up, Role::down}, config);
      const Index interval = fields.size("no_rope_layer_interval", 4);
      const bool listed = fields.has("no_rope_layers");
      const auto is_number = [](const auto& turns) { return turns.is_number(); };
      if (listed && (std::ssize(fields.list("no_rope_layers")) != config.layers ||
                     !std::all_of(fields["no_rope_layers"].begin(), fields["no_rope_layers"].end(),
                                  is_number)))
        throw pare::FormatError(field("no_rope_layers") +
                                " is no list of one number for each layer");
      for_each_block(config, [&](Index i, BlockDescription& block) {
        // 1 turns, 0 does not, whatever the field's name says.
        const bool turns = listed ? fields["no_rope_layers"][static_cast<std::size_t>(i)] != 0
                                  : (i + 1) % interval != 0;
        if (!turns) block.rope.reset();
      });
      const bool slides = fields.flag("use_sliding_window", false);
      read_windows(fields, {}, config, [&](Index) { return slides; });
    }};

}  // namespace engine
