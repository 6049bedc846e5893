#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Abdin et al., "Phi-3 Technical Report", 2024: LLaMA with one matrix for queries, keys and values
/// and one for gate and up.
const Family phi3{
    "phi3", "Phi3", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.max_positions = 4096,
                    .epsilon = 1e-5f,
                    .rope = {.may_be_partial = true},
                    .begin_token = 1,
                    .end_token = 32000},
                   config);
      const Index hidden = config.hidden_size, wide = config.intermediate_size;
      BlockDescription block = config.blocks.front();
      block.linears = {
          fused_linear("self_attn.qkv_proj", Site::attention_input, hidden,
                       {{Role::query, config.q_size()},
                        {Role::key, config.kv_size()},
                        {Role::value, config.kv_size()}}),
          make_linear("self_attn.o_proj", Site::attention_output, Role::attention_output, hidden,
                      config.q_size()),
          fused_linear("mlp.gate_up_proj", Site::feed_forward_input, hidden,
                       {{Role::gate, wide}, {Role::up, wide}}),
          make_linear("mlp.down_proj", Site::feed_forward_hidden, Role::down, hidden, wide)};
      set_blocks(config, block);
      // transformers counts the factors of longrope by hidden_size / heads.
      if (config.ropes.front().kind == RopeParameters::Kind::longrope) config.keys.head_dim.clear();
      read_windows(fields, {}, config, [](Index) { return true; });
    }};

}  // namespace engine
