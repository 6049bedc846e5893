#pragma once

#include "cli/prune_recipe.hpp"
#include "cli/pruned_layers.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"

namespace cli {

/// The recipe's selection, with what one layer loses.
[[nodiscard]] pare::Selection selection_of(const PruneRecipe& recipe, const PrunedLayer& layer);

/// Which weights of a layer stay, by the recipe's score; `squared_inputs` are sums or means of
/// x_j^2, and may be empty where the score does not ask for them.
[[nodiscard]] pare::Mask choose_weights(const PruneRecipe& recipe, const PrunedLayer& layer,
                                        pare::MatrixView<const float> weight,
                                        pare::VectorView<const float> squared_inputs,
                                        const pare::Execution& execution);

}  // namespace cli
