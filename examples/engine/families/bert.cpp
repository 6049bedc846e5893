#include "engine/families/encoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Devlin et al., "BERT", 2018: classifiers of texts, masked language models, and embedders.
const Family bert{"bert", "Bert", [](const ConfigFields& fields, ModelConfig& config) {
                    read_bert(fields, config);
                    config.encoder->heads = {
                        {.pooled = true, .layers = {{.linear = "classifier"}}},
                        {.every_token = true,
                         .layers = {{.linear = "cls.predictions.transform.dense",
                                     .activation = config.activation,
                                     .norm = "cls.predictions.transform.LayerNorm"}},
                         .embedding_bias = "cls.predictions.bias"}};
                  }};

}  // namespace engine
