#include "engine/families/encoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Dosovitskiy et al., "An Image is Worth 16x16 Words", 2020.
const Family vit{"vit", "ViT", [](const ConfigFields& fields, ModelConfig& config) {
                   read_vision(fields, {"embeddings.cls_token"}, config);
                   config.encoder->pooler = "pooler.dense";
                   config.encoder->heads = {{.layers = {{.linear = "classifier"}}}};
                 }};

}  // namespace engine
