#pragma once

#include <memory>
#include <span>

#include "cli/prune_recipe.hpp"
#include "cli/pruned_layers.hpp"
#include "pare/calibration/hessian.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/prune_result.hpp"

namespace cli {

/// What a recipe's update makes of weights that share an input, seen by `hessian`, which must
/// outlive it; what they share is computed once. The recipe has an update.
class WeightUpdate {
 public:
  WeightUpdate(const PruneRecipe& recipe, const pare::Hessian& hessian,
               const pare::Execution& execution);
  ~WeightUpdate();
  WeightUpdate(WeightUpdate&&) noexcept;
  WeightUpdate& operator=(WeightUpdate&&) noexcept;

  [[nodiscard]] pare::PruneResult operator()(pare::MatrixView<const float> weight,
                                             const PrunedLayer& layer = {}) const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

/// Says on standard error how long an update that takes long will, by the speed of a product here;
/// `layers` are all that it prunes.
void print_time_of_update(const PruneRecipe& recipe, std::span<const pare::Shape<2>> layers,
                          const pare::Execution& execution);

}  // namespace cli
