#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/gradient_scores.hpp"
#include "cli/inputs.hpp"
#include "cli/model_copy.hpp"
#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/owl_allocation.hpp"
#include "cli/pipeline/pipeline.hpp"
#include "cli/progress.hpp"
#include "cli/prune_step.hpp"
#include "cli/pruned_layers.hpp"
#include "cli/run_manifest.hpp"
#include "cli/structure/prune_structure.hpp"
#include "cli/weight_update.hpp"
#include "pare/io/masked_tensor.hpp"

namespace cli {
namespace {

/// Of what was written: zeros among the weights of these layers, and all tensors.
struct Achieved {
  Index removed = 0, weights = 0;
  std::size_t bytes = 0;
};

std::size_t bytes_of(pare::SafetensorsCollection& tensors) {
  std::size_t bytes = 0;
  for (const std::string& name : tensors.names()) bytes += tensors.info(name).bytes.size();
  return bytes;
}

Achieved count_zeros(const std::filesystem::path& directory, const PrunedLayers& layers) {
  auto tensors = pare::SafetensorsCollection::open(directory);
  Achieved achieved{.bytes = bytes_of(tensors)};
  for (const auto& [name, layer] : layers) {
    const pare::Matrix<float> weight = pare::read_maybe_masked(tensors, name + ".weight");
    achieved.weights += weight.size();
    achieved.removed += std::count(weight.data(), weight.data() + weight.size(), 0.0f);
    tensors.drop_pages();
  }
  return achieved;
}

/// Why the pattern is no faster here, and what would be.
std::string what_skips_zeros(const PruneRecipe& recipe) {
  const pare::Selection selection = recipe.selection();
  const bool is_two_four = selection.keep == 2 && selection.of == 4;
  const bool is_blocks = selection.block_rows > 1 || selection.block_cols > 1;
  const bool fits = selection.block_rows % 16 == 0 && selection.block_cols % 4 == 0;
  const std::string then =
      " in int8 are stored and multiplied without zeros: pare quantize --format w8a8-dynamic, then "
      "pare pack";
  if (is_two_four) return "no kernel skips zeros of float weights; 2:4" + then;
  if (is_blocks && fits) return "no kernel skips zeros of float weights; such blocks" + then;
  return "no kernel skips zeros in this pattern; 2:4 and blocks-32x4" + then;
}

}  // namespace

void prune(const PruneCommand& options) {
  if (options.structure) return prune_structure(options, *options.structure);
  const PruneRecipe& recipe = options.recipe;
  recipe.validate();
  refuse_options_without_effect(recipe);
  Runtime runtime = options.model.runtime();
  InputPaths inputs = input_paths(options.model, options.calibration);
  inputs.add_file(options.recipe_file);
  const OutputPath out(options.out, options.force, inputs);
  const engine::Checkpoint checkpoint(options.model.model);
  require_float(checkpoint, ": prune before quantizing");
  const std::vector<LayerShape> layers = layers_of_model(checkpoint.config());
  PrunedLayers chosen = pruned_layers(recipe, layers);
  require_text_files(checkpoint.files());
  RecipeFile saved{.prune = recipe};
  std::optional<CalibrationWindows> windows;
  if (recipe.needs_calibration())
    windows.emplace(calibration_windows(options.model, options.calibration, checkpoint, saved));
  out.warn_if_no_room(
      estimated_bytes(checkpoint.files(), [](const std::string&) { return std::nullopt; }));
  std::map<std::string, std::string> texts;
  for (const auto& [name, layer] : chosen)
    texts[name] = recipe.text() + (layer.sparsity ? " " + std::to_string(*layer.sparsity) : "");
  const auto manifest = run_manifest(manifest_of_step(recipe), texts, checkpoint, windows);
  const engine::BlockRunner runner(checkpoint.config(), runtime.execution());
  if (recipe.scores_gradients()) {
    score_by_gradients(recipe, checkpoint.load(runtime.execution()), *windows, runtime.execution(),
                       chosen);
    checkpoint.release_pages();
  }
  if (recipe.scope == PruneScope::global) count_together(recipe, checkpoint, chosen);
  if (recipe.allocate == "owl") {
    const auto block_of = [&](Index i) { return checkpoint.block_without_experts(i); };
    allocate_by_outliers(recipe, block_of, runner, checkpoint.embedding(), *windows, chosen);
    checkpoint.release_pages();
  }

  std::vector<pare::Shape<2>> shapes;
  for (const LayerShape& layer : layers)
    if (chosen.contains(layer.name)) shapes.push_back(layer.shape);
  print_time_of_update(recipe, shapes, runtime.execution());

  Steps steps;
  steps.push_back(std::make_unique<PruneStep>(recipe, chosen, runner));
  const Stopwatch watch;
  (void)compress_model(checkpoint, steps,
                       {.path = out,
                        .layout = recipe.save_as == PrunedAs::pare ? FileLayout::of_masked_model()
                                                                   : FileLayout::of_float_model(),
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
  if (recipe.save_as == PrunedAs::pare) {
    std::printf(
        "the weights take %.2f MB in files that pare alone reads, %.2f MB before; memory and time "
        "are as before\n",
        static_cast<double>(achieved.bytes) / 1e6,
        static_cast<double>(bytes_of(checkpoint.tensors())) / 1e6);
    std::printf(
        "other tools, and pare quantize, go on from what is pruned without --save-as pare\n");
    return;
  }
  std::printf(
      "sparsity is simulated: zeros are stored, files are as large and as fast as before\n");
  std::printf("%s\n", what_skips_zeros(recipe).c_str());
}

}  // namespace cli
