#pragma once

#include <map>
#include <string>

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
  PruneRecipe recipe_;
  PrunedLayers layers_;
  const engine::BlockRunner& runner_;
  /// Sums of x_j^2 over the tokens that enter a site of the block in work.
  std::map<engine::Site, pare::Vector<double>> squared_inputs_;
};

}  // namespace cli
