#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/pipeline/step.hpp"
#include "cli/prune_recipe.hpp"
#include "cli/pruned_layers.hpp"
#include "cli/weight_update.hpp"
#include "pare/calibration/activation_moments.hpp"

namespace cli {

/// What a recipe makes of the layers of one block after the other.
class LayerPruner {
 public:
  LayerPruner(const PruneRecipe& recipe, const pare::Execution& execution)
      : recipe_(recipe), execution_(execution) {}

  /// Hessians or inputs; whose, is the step's to say.
  [[nodiscard]] Needs needs() const;

  /// Forgets what entered the layers of the block before.
  void begin_block();
  /// More rows of x enter the layers at `site`.
  void observe(engine::Site site, pare::MatrixView<const float> x);

  /// The pruned weight of a layer. Those at one site come one after the other: what they share is
  /// computed once, however often a layer is pruned. Adds what the user should know to `notices`.
  [[nodiscard]] pare::Matrix<float> operator()(const Layer& layer,
                                               pare::MatrixView<const float> weight,
                                               const PrunedLayer& own,
                                               const Observations& observations,
                                               std::vector<std::string>& notices);

 private:
  PruneRecipe recipe_;
  pare::Execution execution_;
  std::map<engine::Site, pare::ActivationMoments> moments_;
  std::optional<engine::Site> update_site_;
  std::optional<WeightUpdate> update_;
};

}  // namespace cli
