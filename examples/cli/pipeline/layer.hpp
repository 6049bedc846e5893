#pragma once

#include <string>
#include <vector>

#include "engine/block.hpp"

namespace cli {

using pare::Index;

/// A linear layer of a block, by the name that rules and checkpoints call it.
struct Layer {
  std::string name;  ///< without ".weight": "model.layers.0.self_attn.q_proj"
  engine::Site site{};
  engine::LinearId id{};
};

/// The layers of block `index`, in the order in which their inputs are computed.
[[nodiscard]] inline std::vector<Layer> layers_of_block(Index index) {
  std::vector<Layer> layers;
  for (const engine::Site site : engine::sites)
    for (const engine::LinearId id : engine::linears_at(site))
      layers.push_back({engine::linear_name(index, id), site, id});
  return layers;
}

/// A layer's name and its shape (out_features, in_features).
struct LayerShape {
  std::string name;
  pare::Shape<2> shape;
};

/// All layers of a model, the output layer last unless it is tied to the embedding.
[[nodiscard]] inline std::vector<LayerShape> layers_of_model(const engine::ModelConfig& config) {
  std::vector<LayerShape> layers;
  for (Index i = 0; i < config.layers; ++i)
    for (const Layer& layer : layers_of_block(i))
      layers.push_back({layer.name, engine::linear_shape(config, layer.id)});
  if (!config.tied_embeddings)
    layers.push_back(
        {std::string(engine::output_layer_name), {config.vocab_size, config.hidden_size}});
  return layers;
}

}  // namespace cli
