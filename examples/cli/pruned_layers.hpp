#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/pipeline/layer.hpp"
#include "cli/prune_recipe.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// What is known of a layer before its block is pruned: what it loses where not all lose the same
/// share, and scores that do not depend on what comes before it.
struct PrunedLayer {
  std::optional<Index> count{};      ///< where all layers compete with each other
  std::optional<double> sparsity{};  ///< where layers share the sparsity by another rule
  std::shared_ptr<const pare::Matrix<float>> scores{};  ///< those that ask for gradients
};

/// The layers that a recipe prunes.
using PrunedLayers = std::map<std::string, PrunedLayer, std::less<>>;

/// What `global`, `owl` and gradients find out is not in it yet.
///
/// Throws ArgumentError when --layers is no expression or matches none of `layers`, FormatError for
/// a file of --allocate that says nothing of a layer, or of none, and ShapeError naming a layer
/// whose rows do not divide into groups, or that has too many inputs for the update.
[[nodiscard]] PrunedLayers pruned_layers(const PruneRecipe& recipe,
                                         const std::vector<LayerShape>& layers);

/// Of scope `global`: how many weights each layer loses, with which its own lowest scores are those
/// that go. Asks for the weights (out, in) four times, one at a time.
void count_together(const PruneRecipe& recipe,
                    const std::function<pare::Matrix<float>(const std::string& layer)>& weight_of,
                    PrunedLayers& layers);
/// The same of the weights in files.
void count_together(const PruneRecipe& recipe, const engine::Checkpoint& checkpoint,
                    PrunedLayers& layers);

}  // namespace cli
