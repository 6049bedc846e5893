#pragma once

#include <string>

#include "cli/layer_pruner.hpp"
#include "cli/pipeline/step.hpp"
#include "cli/prune_recipe.hpp"
#include "cli/pruned_layers.hpp"

namespace cli {

/// Prunes layers following one recipe. What enters a block comes through the blocks before it as
/// they are pruned; the layers of one see it while the block is still dense.
class PruneStep final : public Step {
 public:
  PruneStep(const PruneRecipe& recipe, PrunedLayers layers, const engine::BlockRunner& runner);

  [[nodiscard]] Needs needs() const override;
  [[nodiscard]] bool wants(const std::string& layer) const override;
  void prepare(BlockInWork& work, const BlockStatistics* statistics,
               const Listener& listener) override;
  void observe(const BlockInWork& work, engine::Site site,
               pare::MatrixView<const float> x) override;
  void compress(BlockInWork& work, const Observations& observations,
                const Listener& listener) override;
  [[nodiscard]] engine::QuantizedLinear compress_output_layer(
      const std::string& name, pare::MatrixView<const float> weight) override;

 private:
  LayerPruner pruner_;
  PrunedLayers layers_;
};

}  // namespace cli
