#pragma once

#include "cli/options.hpp"
#include "cli/structure/structure_recipe.hpp"

namespace cli {

/// `pare prune --structure` and `--replay`: writes a model of smaller tensors.
void prune_structure(const PruneCommand& options, const StructureRecipe& recipe);

}  // namespace cli
