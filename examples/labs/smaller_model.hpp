#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/block_graph.hpp"
#include "engine/config_changes.hpp"
#include "engine/model.hpp"
#include "pare/pruning/scores/block_influence.hpp"
#include "pare/pruning/structure/select_channels.hpp"

namespace lab {

using engine::Model;
using pare::Index;

/// The model with other blocks; heads and widths are as theirs.
[[nodiscard]] inline Model with_blocks(const Model& model, std::vector<engine::Block> blocks) {
  std::vector<engine::BlockDescription> descriptions;
  for (const engine::Block& block : blocks) descriptions.push_back(block.description);
  Model smaller = model.without_blocks();
  smaller.config = engine::resize(model.config, std::move(descriptions));
  smaller.blocks = std::move(blocks);
  return smaller;
}

/// The model with some of its blocks, by their numbers.
[[nodiscard]] inline Model with_blocks(const Model& model, const std::vector<Index>& kept) {
  std::vector<engine::Block> blocks;
  for (const Index block : kept) blocks.push_back(model.blocks.at(static_cast<std::size_t>(block)));
  return with_blocks(model, std::move(blocks));
}

/// Weights and biases of the blocks' linear layers.
[[nodiscard]] inline double parameters(const Model& model) {
  double sum = 0.0;
  for (const engine::Block& block : model.blocks)
    for (const engine::Linear& linear : block.linears)
      sum += static_cast<double>(linear.dense().size() + linear.bias().size());
  return sum;
}

/// Of each block the channels of an axis, or heads, whose weights are smallest.
[[nodiscard]] inline Model without_channels(const Model& model, const std::string& axis,
                                            double ratio) {
  std::vector<engine::Block> blocks = model.blocks;
  for (engine::Block& block : blocks) {
    pare::DependencyGraph graph = engine::block_graph(model.config, block);
    const pare::ChannelGroup group = graph.group_of({axis});
    const auto scores = engine::squared_weights(block, group);
    graph.remove(group, pare::select_channels(group, scores, {.ratio = ratio}));
    engine::slice_block(graph, block);
  }
  return with_blocks(model, std::move(blocks));
}

/// The block goes that turns hidden states least; `run` runs the model and shows them.
[[nodiscard]] inline Model without_least_block(
    const Model& model, const std::function<void(engine::Decoder::HiddenStates)>& run) {
  std::vector<pare::BlockInfluence> influence(model.blocks.size());
  pare::Matrix<float> before;
  std::size_t next = 0;
  run([&](pare::MatrixView<const float> x) {
    if (next > 0) influence[next - 1].add(before, x);
    before = pare::Matrix<float>(x);
    next = next == model.blocks.size() ? 0 : next + 1;
  });
  std::size_t least = 0;
  for (std::size_t b = 0; b < influence.size(); ++b)
    if (influence[b].score() < influence[least].score()) least = b;
  std::vector<engine::Block> blocks = model.blocks;
  blocks.erase(blocks.begin() + static_cast<Index>(least));
  std::printf("  block %zu of %zu turns hidden states least\n", least, model.blocks.size());
  return with_blocks(model, std::move(blocks));
}

}  // namespace lab
