#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Li et al., "Textbooks Are All You Need II: phi-1.5", 2023: both halves at once behind one
/// LayerNorm, biases everywhere, a part of each head turns.
const Family phi{"phi", "Phi", [](const ConfigFields& fields, ModelConfig& config) {
                   read_decoder(fields,
                                {.max_positions = 2048,
                                 .epsilon_key = "layer_norm_eps",
                                 .epsilon = 1e-5f,
                                 .activation = "gelu_new",
                                 .rope = {.rotated_part = 0.5f, .may_be_partial = true},
                                 .begin_token = 1,
                                 .end_token = 2},
                                config);
                   config.norm.kind = NormDescription::Kind::layer;
                   config.names.final_norm = "final_layernorm";
                   BlockDescription block = config.blocks.front();
                   block.linears = attention_linears(config, "self_attn.");
                   block.linears.back().name = "self_attn.dense";
                   for (auto& linear : plain_linears(config, "mlp.fc1", "mlp.fc2"))
                     block.linears.push_back(linear);
                   for (LinearDescription& linear : block.linears) linear.bias = true;
                   set_blocks(config, block);
                   share_input_of_halves(config);
                   if (fields.flag("qk_layernorm", false))
                     set_query_key_norms(config, QueryKeyNorm::shared_by_heads,
                                         "self_attn.q_layernorm", "self_attn.k_layernorm");
                 }};

}  // namespace engine
