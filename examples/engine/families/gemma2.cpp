#include "engine/families/gemma.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Gemma Team, "Gemma 2", 2024: four norms, capped scores and logits, a window in every other
/// block.
const Family gemma2{"gemma2", "Gemma2", [](const ConfigFields& fields, ModelConfig& config) {
                      read_gemma_of_four_norms(fields,
                                               {.kv_heads = 4,
                                                .head_dim = 256,
                                                .max_positions = 8192,
                                                .activation_key = "hidden_activation",
                                                .activation = "gelu_pytorch_tanh",
                                                .tied = true,
                                                .begin_token = 2,
                                                .end_token = 1},
                                               config);
                      config.keys.heads_divide_hidden = true;
                      config.score_cap = read_cap(fields, "attn_logit_softcapping", 50.0f);
                      config.logit_cap = read_cap(fields, "final_logit_softcapping", 30.0f);
                      read_windows(fields, 4096, config,
                                   [](Index block) { return block % 2 == 0; });
                    }};

}  // namespace engine
