#include "cli/pruned_layers.hpp"

#include <regex>
#include <type_traits>

#include "cli/layer_expression.hpp"
#include "pare/io/json.hpp"
#include "pare/pruning/allocation.hpp"
#include "pare/pruning/global_selection.hpp"
#include "pare/pruning/obc.hpp"
#include "pare/pruning/scores/all.hpp"

namespace cli {
namespace {

void require_shapes(const PruneRecipe& recipe, const PrunedLayers& chosen,
                    const std::vector<LayerShape>& layers) {
  const Index of = recipe.selection().of;
  for (const LayerShape& layer : layers) {
    if (!chosen.contains(layer.name)) continue;
    const std::string which = layer.name + " of shape " + pare::to_string(layer.shape);
    if (of != 0 && layer.shape[1] % of != 0)
      throw pare::ShapeError(which + ": its rows do not divide into groups of " +
                             std::to_string(of));
    if (recipe.update == PruneUpdate::obc && layer.shape[1] > pare::obc_inputs)
      throw pare::ShapeError(which + ": --update obc takes layers of at most " +
                             std::to_string(pare::obc_inputs) + " inputs; use alps, or --layers");
  }
}

/// The sparsity of each layer, from a rule or a file: what is known without the weights.
void allocate(const PruneRecipe& recipe, const std::vector<LayerShape>& layers,
              PrunedLayers& chosen) {
  if (recipe.allocate == "uniform" || recipe.allocate == "owl") return;
  if (recipe.allocate == "erk") {
    std::vector<std::vector<Index>> extents;
    for (const LayerShape& layer : layers)
      if (chosen.contains(layer.name)) extents.push_back({layer.shape[0], layer.shape[1]});
    const auto sparsities = pare::erk_sparsity(extents, recipe.sparsity);
    auto next = sparsities.begin();
    for (const LayerShape& layer : layers)
      if (const auto found = chosen.find(layer.name); found != chosen.end())
        found->second.sparsity = *next++;
    return;
  }
  const nlohmann::json table = pare::read_json(recipe.allocate);
  pare::with_context(recipe.allocate, [&] {
    if (!table.is_object()) throw pare::FormatError("the file is no object {layer: sparsity}");
    for (const auto& [name, sparsity] : table.items()) {
      const auto found = chosen.find(name);
      if (found == chosen.end())
        throw pare::FormatError("\"" + name + "\" is no layer that is pruned; the first is " +
                                chosen.begin()->first);
      if (!sparsity.is_number() || !(sparsity.get<double>() >= 0.0) ||
          !(sparsity.get<double>() < 1.0))
        throw pare::FormatError("the sparsity of " + name + " is " + sparsity.dump() +
                                ", outside [0, 1)");
      found->second.sparsity = sparsity.get<double>();
    }
    for (const auto& [name, layer] : chosen)
      if (!layer.sparsity) throw pare::FormatError("there is no sparsity of " + name);
  });
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
  const std::regex pattern =
      compile_layer_expression("--layers", recipe.layers.empty() ? ".*" : recipe.layers);
  for (const LayerShape& layer : layers)
    if (!layer.is_output && std::regex_match(layer.name, pattern)) chosen[layer.name];
  if (chosen.empty())
    throw pare::ArgumentError("--layers: no layer's whole name matches \"" + recipe.layers +
                              "\"; the first is " + layers.front().name);
  require_shapes(recipe, chosen, layers);
  allocate(recipe, layers, chosen);
  return chosen;
}

void count_together(const PruneRecipe& recipe, const engine::Checkpoint& checkpoint,
                    PrunedLayers& layers) {
  count_together(
      recipe, [&](const std::string& layer) { return weight_of(checkpoint, layer); }, layers);
}

void count_together(const PruneRecipe& recipe,
                    const std::function<pare::Matrix<float>(const std::string& layer)>& weight_of,
                    PrunedLayers& layers) {
  std::vector<std::string> names;
  for (const auto& [name, layer] : layers) names.push_back(name);
  const auto name = [&](Index layer) { return names[static_cast<std::size_t>(layer)]; };
  pare::select_global<float>(
      std::ssize(names),
      [&](Index layer) {
        if (const auto& scores = layers[name(layer)].scores) return pare::Matrix<float>(*scores);
        const pare::Matrix<float> weight = weight_of(name(layer));
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
      [&](Index layer, const pare::Mask& mask) { layers[name(layer)].count = mask.removed(); });
}

}  // namespace cli
