#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/pipeline/layer.hpp"
#include "cli/prune_recipe.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// The layers that a recipe prunes; where all of them compete with each other, how many weights
/// each one loses.
using PrunedLayers = std::map<std::string, std::optional<Index>, std::less<>>;

/// Throws ArgumentError when --layers is no expression or matches none of `layers`, and ShapeError
/// naming a layer whose rows do not divide into groups.
[[nodiscard]] PrunedLayers pruned_layers(const PruneRecipe& recipe,
                                         const std::vector<LayerShape>& layers);

/// Of scope `global`: how many weights each layer loses, with which its own lowest scores are those
/// that go. Reads the weights four times, one at a time.
void count_together(const PruneRecipe& recipe, const engine::Checkpoint& checkpoint,
                    PrunedLayers& layers);

}  // namespace cli
