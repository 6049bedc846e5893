#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Lozhkov et al., "StarCoder 2", 2024: LLaMA with LayerNorm, a plain feed-forward half and biases.
const Family starcoder2{
    "starcoder2", "Starcoder2", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.kv_heads = 2,
                    .max_positions = 4096,
                    .epsilon_key = "norm_epsilon",
                    .epsilon = 1e-5f,
                    .activation = "gelu_pytorch_tanh",
                    .tied = true,
                    .begin_token = 50256,
                    .end_token = 50256},
                   config);
      config.norm.kind = NormDescription::Kind::layer;
      BlockDescription block = config.blocks.front();
      block.linears = attention_linears(config, "self_attn.");
      for (auto& linear : plain_linears(config, "mlp.c_fc", "mlp.c_proj"))
        block.linears.push_back(linear);
      set_blocks(config, block);
      read_bias(fields, "use_bias", true,
                {Role::query, Role::key, Role::value, Role::attention_output, Role::up, Role::down},
                config);
      read_windows(fields, {}, config, [](Index) { return true; });
    }};

}  // namespace engine
