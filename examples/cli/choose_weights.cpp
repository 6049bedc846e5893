#include "cli/choose_weights.hpp"

#include <type_traits>

#include "pare/pruning/scores/all.hpp"

namespace cli {

pare::Selection selection_of(const PruneRecipe& recipe, const PrunedLayer& layer) {
  pare::Selection selection = recipe.selection();
  if (layer.count) selection.count = *layer.count;
  if (layer.sparsity) selection.sparsity = *layer.sparsity;
  return selection;
}

pare::Mask choose_weights(const PruneRecipe& recipe, const PrunedLayer& layer,
                          pare::MatrixView<const float> weight,
                          pare::VectorView<const float> squared_inputs,
                          const pare::Execution& execution) {
  pare::Selection selection = selection_of(recipe, layer);
  // What a layer loses all of, nothing makes up for.
  selection.least_kept = selection.scope == pare::SelectionScope::matrix ? 1 : 0;
  if (layer.scores) return pare::select(*layer.scores, selection, execution);
  const auto scores =
      pare::with_score(recipe.score, [&]<class S>(pare::TypeTag<S>) -> pare::Matrix<float> {
        if constexpr (std::is_same_v<typename S::Inputs, pare::Weights>) {
          return S{}(pare::Weights{weight}, execution);
        } else if constexpr (std::is_same_v<typename S::Inputs, pare::WeightsAndInputs>) {
          return S{}(pare::WeightsAndInputs{weight, squared_inputs}, execution);
        } else {
          throw pare::Error("the scores " + recipe.score + " were not computed");
        }
      });
  return pare::select(scores, selection, execution);
}

}  // namespace cli
