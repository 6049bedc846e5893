#include "engine/families/encoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Sanh et al., "DistilBERT", 2019: BERT without token types and pooler.
const Family distilbert{
    "distilbert", "DistilBert", [](const ConfigFields& fields, ModelConfig& config) {
      read_encoder(fields,
                   {.keys = {"dim", "hidden_dim", "n_layers", "n_heads", "max_position_embeddings"},
                    .activation_key = "activation"},
                   {"attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
                    "ffn.lin1", "ffn.lin2"},
                   config);
      config.norm.epsilon = 1e-12f;  // whatever the file says
      config.names = {.root = "distilbert.",
                      .blocks = "transformer.layer.",
                      .embedding = "embeddings.word_embeddings",
                      .positions = "embeddings.position_embeddings.weight",
                      .final_norm = "",
                      .output = "",
                      .other_roots = {""}};
      config.encoder->embedding_norm = "embeddings.LayerNorm";
      for_each_block(config, [](Index, BlockDescription& block) {
        block.norm(NormPlace::attention_sum) = "sa_layer_norm";
        block.norm(NormPlace::feed_forward_sum) = "output_layer_norm";
      });
      config.encoder->heads = {
          {.layers = {{.linear = "pre_classifier", .activation = Activation::relu},
                      {.linear = "classifier"}}}};
    }};

}  // namespace engine
