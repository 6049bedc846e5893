#include "cli/weight_update.hpp"

#include <algorithm>
#include <cstdio>
#include <variant>

#include "cli/choose_weights.hpp"
#include "cli/progress.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/pruning/alps.hpp"
#include "pare/pruning/obc.hpp"
#include "pare/pruning/refit.hpp"
#include "pare/pruning/sparsegpt.hpp"

namespace cli {

struct WeightUpdate::Shared {
  PruneRecipe recipe;
  pare::Execution execution;
  std::variant<std::monostate, const pare::Hessian*, pare::ObsFactor, pare::AlpsProblem> of_inputs;
};

WeightUpdate::WeightUpdate(const PruneRecipe& recipe, const pare::Hessian& hessian,
                           const pare::Execution& execution)
    : shared_(std::make_unique<Shared>()) {
  shared_->recipe = recipe;
  shared_->execution = execution;
  // Where nothing ever enters there is nothing to fit: the sweep makes all of it zero.
  const pare::Vector<double> squares = hessian.diagonal();
  const bool is_dead = std::all_of(squares.data(), squares.data() + squares.size(),
                                   [](double square) { return square == 0.0; });
  if (is_dead)
    shared_->of_inputs.emplace<pare::ObsFactor>(
        hessian, pare::ObsFactorOptions{.damping = recipe.damping}, execution);
  else if (recipe.update == PruneUpdate::alps)
    shared_->of_inputs.emplace<pare::AlpsProblem>(
        hessian, pare::AlpsProblemOptions{.damping = recipe.damping}, execution);
  else if (recipe.update != PruneUpdate::sparsegpt)
    shared_->of_inputs = &hessian;
  else
    shared_->of_inputs.emplace<pare::ObsFactor>(
        hessian, pare::ObsFactorOptions{.damping = recipe.damping}, execution);
}

WeightUpdate::~WeightUpdate() = default;
WeightUpdate::WeightUpdate(WeightUpdate&&) noexcept = default;
WeightUpdate& WeightUpdate::operator=(WeightUpdate&&) noexcept = default;

pare::PruneResult WeightUpdate::operator()(pare::MatrixView<const float> weight,
                                           const PrunedLayer& layer) const {
  const auto& [recipe, execution, of_inputs] = *shared_;
  const pare::Selection selection = selection_of(recipe, layer);
  if (const auto* problem = std::get_if<pare::AlpsProblem>(&of_inputs))
    return pare::alps(weight, *problem, {.selection = selection}, execution);
  if (const auto* const* found = std::get_if<const pare::Hessian*>(&of_inputs)) {
    const pare::Hessian* const hessian = *found;
    if (recipe.update == PruneUpdate::obc)
      return pare::obc(weight, *hessian, {.selection = selection, .damping = recipe.damping},
                       execution);
    const pare::Vector<double> diagonal = hessian->diagonal();
    pare::Vector<float> squared({diagonal.size()});
    std::transform(diagonal.begin(), diagonal.end(), squared.begin(),
                   [](double value) { return static_cast<float>(value); });
    const pare::Mask mask = choose_weights(recipe, layer, weight, squared, execution);
    return pare::refit(weight, *hessian, mask, {.damping = recipe.damping}, execution);
  }
  const auto& factor = std::get<pare::ObsFactor>(of_inputs);
  return pare::sparsegpt(weight, factor,
                         {.mask = {.sparsity = selection.sparsity,
                                   .rounding = selection.rounding,
                                   .keep = selection.keep,
                                   .of = selection.of},
                          .factor = factor.options()},
                         execution);
}

void print_time_of_update(const PruneRecipe& recipe, std::span<const pare::Shape<2>> layers,
                          const pare::Execution& execution) {
  if (recipe.update != PruneUpdate::alps) return;
  constexpr Index side = 512;
  const pare::Matrix<float> a({side, side});
  pare::Matrix<float> product({side, side});
  double rate = 0.0;
  for (int run = 0; run < 3; ++run) {
    const Stopwatch watch;
    pare::gemm(1.0f, a, a, product, execution);
    rate = std::max(rate, static_cast<double>(side * side * side) / watch.seconds());
  }
  constexpr int usual_iterations = 40;
  double multiply_adds = 0.0;
  for (const pare::Shape<2>& layer : layers)
    multiply_adds += pare::alps_multiply_adds(layer[0], layer[1], usual_iterations);
  std::fprintf(stderr, "note: alps will take about %s, and calibration beside it\n",
               clock_text(multiply_adds / rate).c_str());
}

}  // namespace cli
