#pragma once

#include <memory>

#include "cli/prune_recipe.hpp"
#include "pare/calibration/hessian.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/prune_result.hpp"

namespace cli {

/// What a recipe's update makes of weights that share an input, seen by `hessian`; what they share
/// is computed once. The recipe has an update.
class WeightUpdate {
 public:
  WeightUpdate(const PruneRecipe& recipe, const pare::Hessian& hessian,
               const pare::Execution& execution);
  ~WeightUpdate();
  WeightUpdate(WeightUpdate&&) noexcept;
  WeightUpdate& operator=(WeightUpdate&&) noexcept;

  [[nodiscard]] pare::PruneResult operator()(pare::MatrixView<const float> weight) const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace cli
