#include "engine/families/encoder.hpp"

#include <cmath>
#include <utility>

namespace engine {

void read_encoder(const ConfigFields& fields, const EncoderDefaults& defaults,
                  const EncoderLayers& layers, ModelConfig& config) {
  const SizeKeys& keys = config.keys = defaults.keys;
  if (!defaults.reads_images) config.vocab_size = fields.size("vocab_size");
  config.hidden_size = fields.size(keys.hidden.c_str());
  config.intermediate_size = fields.size(keys.intermediate.c_str());
  config.layers = fields.size(keys.layers.c_str(), {}, most_blocks);
  config.heads = config.kv_heads = fields.size(keys.heads.c_str());
  if (config.hidden_size % config.heads != 0)
    throw pare::FormatError(field(keys.heads) + " is " + std::to_string(config.heads) +
                            ", which does not divide " + keys.hidden + " " +
                            std::to_string(config.hidden_size));
  config.head_dim = config.hidden_size / config.heads;
  if (!defaults.reads_images)
    config.max_positions = fields.size(keys.positions.c_str(), defaults.max_positions);
  config.norm = {NormDescription::Kind::layer, fields.positive(defaults.epsilon_key, 1e-12f)};
  config.activation = read_activation(fields, defaults.activation_key, "gelu", config);
  config.score_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  config.tied_embeddings = true;
  config.encoder.emplace();

  const Index width = config.hidden_size, hidden = config.intermediate_size;
  BlockDescription block;
  block.rope.reset();
  block.linears = {make_linear(layers.query, Site::attention_input, Role::query, width, width),
                   make_linear(layers.key, Site::attention_input, Role::key, width, width),
                   make_linear(layers.value, Site::attention_input, Role::value, width, width),
                   make_linear(layers.attention_output, Site::attention_output,
                               Role::attention_output, width, width),
                   make_linear(layers.up, Site::feed_forward_input, Role::up, hidden, width),
                   make_linear(layers.down, Site::feed_forward_hidden, Role::down, width, hidden)};
  for (LinearDescription& linear : block.linears) linear.bias = true;
  set_blocks(config, block);
}

void read_bert(const ConfigFields& fields, ModelConfig& config) {
  read_encoder(fields, {},
               {"attention.self.query", "attention.self.key", "attention.self.value",
                "attention.output.dense", "intermediate.dense", "output.dense"},
               config);
  config.names = {.root = config.family + ".",
                  .blocks = "encoder.layer.",
                  .embedding = "embeddings.word_embeddings",
                  .positions = "embeddings.position_embeddings.weight",
                  .final_norm = "",
                  .output = "",
                  .other_roots = {""}};
  config.encoder->types = "embeddings.token_type_embeddings";
  config.encoder->type_count = fields.size("type_vocab_size", 2);
  config.encoder->embedding_norm = "embeddings.LayerNorm";
  config.encoder->pooler = "pooler.dense";
  for_each_block(config, [](Index, BlockDescription& block) {
    block.norm(NormPlace::attention_sum) = "attention.output.LayerNorm";
    block.norm(NormPlace::feed_forward_sum) = "output.LayerNorm";
  });
}

void read_vision(const ConfigFields& fields, std::vector<std::string> first_tokens,
                 ModelConfig& config) {
  read_encoder(fields, {.reads_images = true},
               {"attention.attention.query", "attention.attention.key", "attention.attention.value",
                "attention.output.dense", "intermediate.dense", "output.dense"},
               config);
  config.names = {.root = config.family + ".",
                  .blocks = "encoder.layer.",
                  .embedding = "",
                  .positions = "embeddings.position_embeddings",
                  .final_norm = "layernorm",
                  .output = "",
                  .other_roots = {""}};
  for_each_block(config, [](Index, BlockDescription& block) {
    block.norm(NormPlace::attention_input) = "layernorm_before";
    block.norm(NormPlace::feed_forward_input) = "layernorm_after";
  });
  read_bias(fields, "qkv_bias", true, {Role::query, Role::key, Role::value}, config);
  ImageDescription image{.size = fields.size("image_size", 224),
                         .patch = fields.size("patch_size", 16),
                         .channels = fields.size("num_channels", 3),
                         .projection = "embeddings.patch_embeddings.projection",
                         .first_tokens = std::move(first_tokens)};
  if (image.size % image.patch != 0)
    throw pare::FormatError(field("patch_size") + " is " + std::to_string(image.patch) +
                            ", which does not divide image_size " + std::to_string(image.size));
  if (image.size > 65536 || image.channels > 65536)
    throw pare::FormatError(field("image_size") + " is " + std::to_string(image.size) +
                            " pixels of " + std::to_string(image.channels) +
                            " channels, more than images have");
  config.max_positions = image.tokens();
  config.encoder->image = std::move(image);
}

}  // namespace engine
