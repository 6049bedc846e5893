#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Black et al., "GPT-NeoX-20B", 2022; Biderman et al., "Pythia", 2023: both halves at once, a part
/// of each head turns, and one matrix with query, key and value of a head after the other.
const Family gpt_neox{
    "gpt_neox", "GPTNeoX", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.may_group_heads = false,
                    .may_size_heads = false,
                    .max_positions = 2048,
                    .epsilon_key = "layer_norm_eps",
                    .epsilon = 1e-5f,
                    .activation = "gelu",
                    .rope = {.rotated_part = 0.25f,
                             .may_be_partial = true,
                             .theta_key = "rotary_emb_base",
                             .part_key = "rotary_pct"},
                    .begin_token = 0,
                    .end_token = 2},
                   config);
      config.norm.kind = NormDescription::Kind::layer;
      config.parallel = fields.flag("use_parallel_residual", true);
      config.names = {.root = "gpt_neox.",
                      .embedding = "embed_in",
                      .final_norm = "final_layer_norm",
                      .output = "embed_out"};
      const Index hidden = config.hidden_size, dim = config.head_dim, heads = config.heads;
      LinearDescription qkv{.name = "attention.query_key_value",
                            .site = Site::attention_input,
                            .shape = {3 * hidden, hidden}};
      Index first = 0;
      for (const Role role : {Role::query, Role::key, Role::value}) {
        qkv.parts.push_back({role, first, dim, heads, 3 * dim});
        first += dim;
      }
      BlockDescription block = config.blocks.front();
      block.linears = {qkv, make_linear("attention.dense", Site::attention_output,
                                        Role::attention_output, hidden, hidden)};
      for (auto& linear : plain_linears(config, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"))
        block.linears.push_back(linear);
      set_blocks(config, block);
      read_bias(fields, "attention_bias", true, {Role::query, Role::attention_output}, config);
      set_bias(config, {Role::up, Role::down});
    }};

}  // namespace engine
