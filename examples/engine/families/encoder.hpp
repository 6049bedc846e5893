#pragma once

#include <string>

#include "engine/config.hpp"
#include "engine/config_fields.hpp"
#include "engine/families/decoder.hpp"

/// What encoders have in common.
namespace engine {

/// What a family means where its config.json says nothing, and how it spells some fields.
struct EncoderDefaults {
  SizeKeys keys{};
  const char* epsilon_key = "layer_norm_eps";
  const char* activation_key = "hidden_act";
  bool reads_images = false;
  Index max_positions = 512;
};

/// Names of a block's layers.
struct EncoderLayers {
  std::string query, key, value, attention_output, up, down;
};

/// Sizes, LayerNorm, activation and blocks, whose norms are left to the family.
void read_encoder(const ConfigFields& fields, const EncoderDefaults& defaults,
                  const EncoderLayers& layers, ModelConfig& config);

/// BERT's and its followers': embeddings of tokens, types and positions with a norm, norms behind
/// both halves, a pooler.
void read_bert(const ConfigFields& fields, ModelConfig& config);

/// Vision transformers: image_size, patch_size and num_channels, norms before both halves.
void read_vision(const ConfigFields& fields, std::vector<std::string> first_tokens,
                 ModelConfig& config);

}  // namespace engine
