#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <regex>
#include <string>

#include "cli/inputs.hpp"
#include "cli/model_copy.hpp"
#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/pipeline/pipeline.hpp"
#include "cli/progress.hpp"
#include "cli/prune_step.hpp"
#include "cli/run_manifest.hpp"
#include "engine/regular_expression.hpp"
#include "pare/pruning/global_selection.hpp"
#include "pare/pruning/scores/all.hpp"

namespace cli {
namespace {

PrunedLayers chosen_layers(const PruneRecipe& recipe, const std::vector<LayerShape>& layers) {
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
  return chosen;
}

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

/// How many weights each layer loses where all compete: the lowest of a layer are the same then.
void count_globally(const PruneRecipe& recipe, const engine::Checkpoint& checkpoint,
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

/// Of what was written: zeros among the weights of these layers.
struct Achieved {
  Index removed = 0, weights = 0;
};

Achieved count_zeros(const std::filesystem::path& directory, const PrunedLayers& layers) {
  auto tensors = pare::SafetensorsCollection::open(directory);
  Achieved achieved;
  for (const auto& [name, count] : layers) {
    const pare::Matrix<float> weight = tensors.read_matrix(name + ".weight");
    achieved.weights += weight.size();
    achieved.removed += std::count(weight.data(), weight.data() + weight.size(), 0.0f);
    tensors.drop_pages();
  }
  return achieved;
}

}  // namespace

void prune(const PruneCommand& options) {
  const PruneRecipe& recipe = options.recipe;
  recipe.validate();
  refuse_options_without_effect(recipe);
  Runtime runtime = options.model.runtime();
  InputPaths inputs = input_paths(options.model, options.calibration);
  inputs.add_file(options.recipe_file);
  const OutputPath out(options.out, options.force, inputs);
  const engine::Checkpoint checkpoint(options.model.model);
  if (const std::string by = checkpoint.quantization(); !by.empty())
    throw pare::ArgumentError(options.model.model.string() + " is quantized (by " + by +
                              "): prune before quantizing");
  const std::vector<LayerShape> layers = layers_of_model(checkpoint.config());
  PrunedLayers chosen = chosen_layers(recipe, layers);
  require_shapes(recipe, chosen, layers);
  require_text_files(checkpoint.files());
  RecipeFile saved{.prune = recipe};
  std::optional<CalibrationWindows> windows;
  if (recipe.needs_calibration()) {
    const Index length = window_length(options.model, checkpoint.config());
    windows.emplace(calibration_windows(options.calibration, checkpoint, length));
    saved.window = length;
    saved.windows = options.calibration.windows;
    saved.stride = options.calibration.stride;
  }
  out.warn_if_no_room(
      estimated_bytes(checkpoint.files(), [](const std::string&) { return std::nullopt; }));
  std::map<std::string, std::string> texts;
  for (const auto& [name, count] : chosen) texts[name] = recipe.text();
  const auto manifest = run_manifest(manifest_of_step(recipe), texts, checkpoint, windows);
  if (recipe.scope == PruneScope::global) count_globally(recipe, checkpoint, chosen);

  const engine::BlockRunner runner(checkpoint.config(), runtime.execution());
  Steps steps;
  steps.push_back(std::make_unique<PruneStep>(recipe, chosen, runner));
  const Stopwatch watch;
  (void)compress_model(checkpoint, steps,
                       {.path = out,
                        .layout = FileLayout::of_float_model(),
                        .manifest = manifest,
                        .recipe = recipe_json(saved)},
                       windows ? &*windows : nullptr, runtime.execution(), "pruning",
                       recipe.min_expert_tokens);
  const Achieved achieved = count_zeros(out.directory(), chosen);
  std::printf("%s: %s: %.2f %% of %td weights in %zu layers are zero, %.1f s\n",
              options.out.string().c_str(), recipe.text().c_str(),
              100.0 * static_cast<double>(achieved.removed) /
                  static_cast<double>(std::max<Index>(1, achieved.weights)),
              achieved.weights, chosen.size(), watch.seconds());
  std::printf(
      "sparsity is simulated: zeros are stored, files are as large and as fast as before\n");
}

}  // namespace cli
