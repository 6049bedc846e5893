#include "engine/families/encoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Liu et al., "RoBERTa", 2019: BERT whose positions count the tokens that are no padding.
const Family roberta{"roberta", "Roberta", [](const ConfigFields& fields, ModelConfig& config) {
                       read_bert(fields, config);
                       const Index pad = fields.has("pad_token_id") && fields["pad_token_id"] == 0
                                             ? 0
                                             : fields.size("pad_token_id", 1);
                       config.encoder->pad_token = pad;
                       if (config.max_positions <= pad + 1)
                         throw pare::FormatError(field("max_position_embeddings") +
                                                 " leaves no position beyond pad_token_id");
                       config.max_positions -= pad + 1;
                       config.encoder->heads = {{.layers = {{.linear = "classifier.dense",
                                                             .activation = Activation::tanh},
                                                            {.linear = "classifier.out_proj"}}}};
                     }};

}  // namespace engine
