#include "cli/weight_update.hpp"

#include <variant>

#include "pare/pruning/alps.hpp"
#include "pare/pruning/sparsegpt.hpp"

namespace cli {

struct WeightUpdate::Shared {
  PruneRecipe recipe;
  pare::Execution execution;
  std::variant<std::monostate, pare::ObsFactor, pare::AlpsProblem> of_inputs;
};

WeightUpdate::WeightUpdate(const PruneRecipe& recipe, const pare::Hessian& hessian,
                           const pare::Execution& execution)
    : shared_(std::make_unique<Shared>()) {
  shared_->recipe = recipe;
  shared_->execution = execution;
  if (recipe.update == PruneUpdate::alps)
    shared_->of_inputs.emplace<pare::AlpsProblem>(
        hessian, pare::AlpsProblemOptions{.damping = recipe.damping}, execution);
  else
    shared_->of_inputs.emplace<pare::ObsFactor>(
        hessian, pare::ObsFactorOptions{.damping = recipe.damping}, execution);
}

WeightUpdate::~WeightUpdate() = default;
WeightUpdate::WeightUpdate(WeightUpdate&&) noexcept = default;
WeightUpdate& WeightUpdate::operator=(WeightUpdate&&) noexcept = default;

pare::PruneResult WeightUpdate::operator()(pare::MatrixView<const float> weight) const {
  const pare::Selection selection = shared_->recipe.selection();
  if (const auto* problem = std::get_if<pare::AlpsProblem>(&shared_->of_inputs))
    return pare::alps(weight, *problem, {.selection = selection}, shared_->execution);
  const auto& factor = std::get<pare::ObsFactor>(shared_->of_inputs);
  return pare::sparsegpt(weight, factor,
                         {.mask = {.sparsity = selection.sparsity,
                                   .rounding = selection.rounding,
                                   .keep = selection.keep,
                                   .of = selection.of},
                          .factor = factor.options()},
                         shared_->execution);
}

}  // namespace cli
