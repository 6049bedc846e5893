#include "cli/pruned_layers.hpp"

#include <regex>
#include <type_traits>

#include "engine/regular_expression.hpp"
#include "pare/pruning/global_selection.hpp"
#include "pare/pruning/scores/all.hpp"

namespace cli {
namespace {

void require_shapes(const PruneRecipe& recipe, const PrunedLayers& chosen,
                    const std::vector<LayerShape>& layers) {
  const Index of = recipe.selection().of;
  for (const LayerShape& layer : layers)
    if (chosen.contains(layer.name) && of != 0 && layer.shape[1] % of != 0)
      throw pare::ShapeError(layer.name + " of shape " + pare::to_string(layer.shape) +
                             ": its rows do not divide into groups of " + std::to_string(of));
}

/// A layer's weight as it is multiplied: (out, in).
pare::Matrix<float> weight_of(const engine::Checkpoint& checkpoint, const std::string& layer) {
  pare::Matrix<float> weight = checkpoint.tensors().read_matrix(layer + ".weight");
  checkpoint.release_pages();
  if (!checkpoint.is_transposed(layer)) return weight;
  return pare::Matrix<float>(weight.view().transposed());
}

}  // namespace

PrunedLayers pruned_layers(const PruneRecipe& recipe, const std::vector<LayerShape>& layers) {
  PrunedLayers chosen;
  std::regex pattern;
  try {
    pattern = engine::compile_expression(recipe.layers.empty() ? ".*" : recipe.layers);
  } catch (const std::regex_error& error) {
    throw pare::ArgumentError("--layers: \"" + recipe.layers +
                              "\" is no regular expression: " + error.what());
  }
  for (const LayerShape& layer : layers)
    if (!layer.is_output && std::regex_match(layer.name, pattern)) chosen[layer.name];
  if (chosen.empty())
    throw pare::ArgumentError("--layers: no layer's whole name matches \"" + recipe.layers +
                              "\"; the first is " + layers.front().name);
  require_shapes(recipe, chosen, layers);
  return chosen;
}

void count_together(const PruneRecipe& recipe, const engine::Checkpoint& checkpoint,
                    PrunedLayers& layers) {
  std::vector<std::string> names;
  for (const auto& [name, count] : layers) names.push_back(name);
  const auto name = [&](Index layer) { return names[static_cast<std::size_t>(layer)]; };
  pare::select_global<float>(
      std::ssize(names),
      [&](Index layer) {
        const pare::Matrix<float> weight = weight_of(checkpoint, name(layer));
        return pare::with_score(recipe.score,
                                [&]<class S>(pare::TypeTag<S>) -> pare::Matrix<float> {
                                  if constexpr (std::is_same_v<typename S::Inputs, pare::Weights>)
                                    return S{}(pare::Weights{weight});
                                  else
                                    throw pare::ArgumentError(
                                        "--scope global needs a score of "
                                        "weights alone");
                                });
      },
      {.sparsity = recipe.sparsity, .least_kept = 1},
      [&](Index layer, const pare::Mask& mask) { layers[name(layer)] = mask.removed(); });
}

}  // namespace cli
