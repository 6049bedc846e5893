#include "cli/sensitivity_step.hpp"

#include <utility>

namespace cli {

SensitivityStep::SensitivityStep(const PruneRecipe& recipe, PrunedLayers layers,
                                 std::vector<PrunedLayer> shares, const pare::Execution& execution,
                                 Show show)
    : pruner_(recipe, execution),
      layers_(std::move(layers)),
      shares_(std::move(shares)),
      show_(std::move(show)) {}

void SensitivityStep::prepare(BlockInWork&, const BlockStatistics*, const Listener&) {
  pruner_.begin_block();
}

void SensitivityStep::observe(const BlockInWork&, engine::Site site,
                              pare::MatrixView<const float> x) {
  pruner_.observe(site, x);
}

void SensitivityStep::compress(BlockInWork& work, const Observations& observations,
                               const Listener&) {
  for (const Layer& layer : work.layers) {
    if (!wants(layer.name)) continue;
    std::vector<std::string> same;  // what the first share's notices say already
    for (std::size_t share = 0; share < shares_.size(); ++share) {
      PrunedLayer own = shares_[share];
      own.scores = layers_.find(layer.name)->second.scores;
      pare::with_context(layer.name, [&] {
        show_(layer.name, share,
              pruner_(layer, work.weight(layer), own, observations,
                      share == 0 ? work.notices : same));
      });
    }
  }
}

engine::QuantizedLinear SensitivityStep::compress_output_layer(const std::string& name,
                                                               pare::MatrixView<const float>) {
  throw pare::Error(name + ": the output layer is not pruned");
}

}  // namespace cli
