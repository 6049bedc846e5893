#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/layer_pruner.hpp"

namespace cli {

/// Prunes each layer of the float model in several ways, one after the other, and shows what
/// becomes of it; the model stays as it is. What enters a layer is what the float model makes.
class SensitivityStep final : public Step {
 public:
  /// The pruned weight (out, in) of a layer at share number `share`.
  using Show = std::function<void(const std::string& layer, std::size_t share,
                                  const pare::Matrix<float>& weight)>;

  /// `shares` are what a layer loses; `layers` are those of interest.
  SensitivityStep(const PruneRecipe& recipe, PrunedLayers layers, std::vector<PrunedLayer> shares,
                  const pare::Execution& execution, Show show);

  [[nodiscard]] Needs needs() const override { return pruner_.needs(); }
  [[nodiscard]] bool wants(const std::string& layer) const override {
    return layers_.contains(layer);
  }
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
  std::vector<PrunedLayer> shares_;
  Show show_;
};

}  // namespace cli
