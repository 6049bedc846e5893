#include "cli/structure/structure_step.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "cli/structure/channel_scores.hpp"
#include "engine/block_tensors.hpp"
#include "pare/pruning/refit.hpp"
#include "pare/pruning/removed_input_bias.hpp"

namespace cli {
namespace {

using engine::Site;
using pare::MatrixView;

/// The indices that are not listed; ascending.
std::vector<Index> others(std::span<const Index> kept, Index extent) {
  std::vector<Index> rest;
  std::size_t k = 0;
  for (Index i = 0; i < extent; ++i)
    if (k < kept.size() && kept[k] == i)
      ++k;
    else
      rest.push_back(i);
  return rest;
}

void add_to_bias(const pare::Vector<float>& change, engine::Linear& linear) {
  if (linear.bias().empty()) linear.set_bias(pare::Vector<float>({linear.out_features()}));
  for (Index i = 0; i < change.size(); ++i) linear.bias()[i] += change[i];
}

}  // namespace

StructureStep::StructureStep(const StructureRecipe& recipe, const StructurePlan& plan,
                             const engine::BlockRunner& runner, training::LayerMatrices gradients)
    : recipe_(recipe), plan_(plan), runner_(runner), gradients_(std::move(gradients)) {
  const engine::ModelConfig& config = runner.config();
  for (Index b = 0; b < config.layers; ++b)
    for (const RemovedAxis& axis : removed_axes(recipe.structure, config.block(b)))
      readers_.insert(config.linear_name(b, axis.consumer));
}

Needs StructureStep::needs() const {
  return {.hessians = recipe_.update == StructureUpdate::refit,
          .inputs = recipe_.update != StructureUpdate::none || recipe_.scores_inputs()};
}

bool StructureStep::wants(const std::string& layer) const { return readers_.contains(layer); }

void StructureStep::prepare(BlockInWork&, const BlockStatistics*, const Listener&) {
  moments_.clear();
}

void StructureStep::observe(const BlockInWork&, Site site, MatrixView<const float> x) {
  moments_.try_emplace(site, x.cols()).first->second.add(x, runner_.execution());
}

void StructureStep::compress(BlockInWork& work, const Observations& observations,
                             const Listener& listener) {
  for (const RemovedAxis& axis : removed_axes(recipe_.structure, work.block.description)) {
    // Experts come later, each as a block of its own.
    if (std::none_of(work.layers.begin(), work.layers.end(),
                     [&](const Layer& layer) { return layer.index == axis.consumer; }))
      continue;
    listener(axis.name, 0.5);
    pare::with_context(runner_.config().block_prefix(work.index) + axis.name,
                       [&] { remove(work, axis, observations); });
  }
  settle(work);
}

const pare::ActivationMoments& StructureStep::moments(const BlockInWork& work,
                                                      std::size_t consumer) const {
  return moments_.at(work.block.description.linears[consumer].site);
}

std::vector<Index> StructureStep::chosen(const BlockInWork& work, const RemovedAxis& axis,
                                         const pare::ChannelGroup& group) const {
  if (plan_.edits) {
    std::vector<Index> channels;
    for (const pare::StructureEdit& edit : plan_.edits->of_block(work.index))
      if (edit.root.tensor == axis.name)
        channels.insert(channels.end(), edit.indices.begin(), edit.indices.end());
    return channels;
  }
  const std::size_t consumer = axis.consumer;
  const ChannelEvidence evidence{
      .consumer = consumer,
      .inputs = recipe_.scores_inputs() ? &moments(work, consumer) : nullptr,
      .gradient = [&](std::size_t layer) -> const pare::Matrix<float>& {
        return gradients_.at(runner_.config().linear_name(work.index, layer));
      },
      .seed = static_cast<std::uint64_t>(work.index) * 65536 + consumer};
  return pare::select_channels(
      group, channel_scores(recipe_.own_score(), group, work.block, evidence, runner_.execution()),
      recipe_.selection());
}

void StructureStep::remove(BlockInWork& work, const RemovedAxis& axis,
                           const Observations& observations) {
  pare::DependencyGraph graph =
      engine::block_graph(runner_.config(), work.block, head_unit(recipe_.structure));
  const pare::ChannelGroup group = graph.group_of({axis.name});
  const std::vector<Index> channels = chosen(work, axis, group);
  if (channels.empty()) return;
  (void)graph.remove(group, channels);
  work.edits.push_back(edit_json(work.index, graph.edits().back()));

  const std::size_t place = axis.consumer;
  engine::Linear& consumer = work.block.linears[place];
  const std::string& name = work.block.description.linears[place].name;
  const std::vector<Index> kept = graph.kept({name, "in"});
  Consumer updated = update(work, place, kept, observations);
  engine::slice_block(graph, work.block);
  if (!updated.weight.empty()) consumer.dense() = std::move(updated.weight);
  if (!updated.bias_change.empty()) add_to_bias(updated.bias_change, consumer);
}

StructureStep::Consumer StructureStep::update(BlockInWork& work, std::size_t place,
                                              const std::vector<Index>& kept,
                                              const Observations& observations) const {
  if (recipe_.update == StructureUpdate::none) return {};
  const engine::LinearDescription& layer = work.block.description.linears[place];
  const pare::Matrix<float>& weight = work.block.linears[place].dense();
  const pare::Vector<float> mean = moments(work, place).mean();
  if (recipe_.update == StructureUpdate::bias)
    return {{}, pare::removed_input_bias(weight, mean, others(kept, weight.cols()))};
  const pare::Vector<float> squares = moments(work, place).mean_square();
  if (std::all_of(squares.data(), squares.data() + squares.size(),
                  [](float square) { return square == 0.0f; })) {
    work.notices.push_back(layer.name + ": its input is always zero, nothing is refitted");
    return {};
  }
  pare::ConsumerRefit refitted =
      pare::refit_consumer(weight, observations.hessian(layer.site), kept,
                           plan_.has_bias ? mean.view() : pare::VectorView<const float>{},
                           {.damping = recipe_.damping}, runner_.execution());
  return {std::move(refitted.weight), std::move(refitted.bias_change)};
}

/// What readers of the new configuration look for, is there.
void StructureStep::settle(BlockInWork& work) const {
  const auto& planned = plan_.now.block(work.index).linears;
  for (const Layer& layer : work.layers) {
    engine::Linear& linear = work.block.linears[layer.index];
    engine::LinearDescription& own = work.block.description.linears[layer.index];
    const auto found =
        std::find_if(planned.begin(), planned.end(),
                     [&](const engine::LinearDescription& p) { return p.name == own.name; });
    if (found == planned.end() || found->shape != own.shape)
      throw pare::Error(own.name + " became " + pare::to_string(own.shape) +
                        ", which was not planned");
    if (found->bias && linear.bias().empty())
      linear.set_bias(pare::Vector<float>({linear.out_features()}));
    own.bias = found->bias;
  }
}

engine::QuantizedLinear StructureStep::compress_output_layer(const std::string& name,
                                                             MatrixView<const float>) {
  throw pare::Error(name + ": the output layer is not pruned");
}

}  // namespace cli
