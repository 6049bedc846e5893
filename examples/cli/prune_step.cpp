#include "cli/prune_step.hpp"

#include <utility>

namespace cli {

using engine::Site;
using pare::MatrixView;

PruneStep::PruneStep(const PruneRecipe& recipe, PrunedLayers layers,
                     const engine::BlockRunner& runner)
    : pruner_(recipe, runner.execution()), layers_(std::move(layers)) {}

Needs PruneStep::needs() const {
  Needs needs = pruner_.needs();
  needs.sequential = needs.stream();
  return needs;
}

bool PruneStep::wants(const std::string& layer) const { return layers_.contains(layer); }

void PruneStep::prepare(BlockInWork&, const BlockStatistics*, const Listener&) {
  pruner_.begin_block();
}

void PruneStep::observe(const BlockInWork&, Site site, MatrixView<const float> x) {
  pruner_.observe(site, x);
}

void PruneStep::compress(BlockInWork& work, const Observations& observations,
                         const Listener& listener) {
  for (std::size_t i = 0; i < work.layers.size(); ++i) {
    const Layer& layer = work.layers[i];
    if (!wants(layer.name)) continue;
    listener(work.block.description.linears[layer.index].name,
             0.5 + static_cast<double>(i) / static_cast<double>(2 * work.layers.size()));
    pare::with_context(layer.name, [&] {
      pare::Matrix<float>& weight = work.weight(layer);
      weight = pruner_(layer, weight, layers_.find(layer.name)->second, observations, work.notices);
    });
  }
}

engine::QuantizedLinear PruneStep::compress_output_layer(const std::string& name,
                                                         MatrixView<const float>) {
  throw pare::Error(name + ": the output layer is not pruned");
}

}  // namespace cli
