#include "engine/families/encoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Touvron et al., "Training data-efficient image transformers", 2021: a vision transformer with a
/// second learned token and a classifier of its own for it.
const Family deit{
    "deit", "DeiT", [](const ConfigFields& fields, ModelConfig& config) {
      read_vision(fields, {"embeddings.cls_token", "embeddings.distillation_token"}, config);
      config.encoder->pooler = "pooler.dense";
      config.encoder->heads = {{.layers = {{.linear = "classifier"}}},
                               {.output = "cls_logits", .layers = {{.linear = "cls_classifier"}}},
                               {.output = "distillation_logits",
                                .token = 1,
                                .layers = {{.linear = "distillation_classifier"}}}};
    }};

}  // namespace engine
