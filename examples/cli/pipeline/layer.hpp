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
  std::size_t index = 0;  ///< among the block's linear layers
};

/// The layers of block `index`, in the order in which their inputs are computed.
[[nodiscard]] inline std::vector<Layer> layers_of_block(const engine::ModelConfig& config,
                                                        Index index) {
  std::vector<Layer> layers;
  const auto& linears = config.block(index).linears;
  for (std::size_t i = 0; i < linears.size(); ++i)
    layers.push_back({config.linear_name(index, i), linears[i].site, i});
  return layers;
}

/// A layer's name and its shape (out_features, in_features).
struct LayerShape {
  std::string name;
  pare::Shape<2> shape;
  bool is_output = false;  ///< of the model's output layer
  bool is_left = false;    ///< as it is, unless a rule says otherwise
};

/// All layers of a model, the output layer last unless it is tied to the embedding.
[[nodiscard]] inline std::vector<LayerShape> layers_of_model(const engine::ModelConfig& config) {
  std::vector<LayerShape> layers;
  for (Index i = 0; i < config.layers; ++i)
    for (const Layer& layer : layers_of_block(config, i))
      layers.push_back({layer.name, config.block(i).linears[layer.index].shape});
  if (!config.tied_embeddings)
    layers.push_back({config.names.output, {config.vocab_size, config.hidden_size}, true});
  return layers;
}

}  // namespace cli
