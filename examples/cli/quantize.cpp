#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cli/block_output_error.hpp"
#include "cli/inputs.hpp"
#include "cli/layout_of_recipe.hpp"
#include "cli/model_copy.hpp"
#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/pipeline/pipeline.hpp"
#include "cli/progress.hpp"
#include "cli/quantize_plain.hpp"
#include "cli/quantize_step.hpp"
#include "cli/recipe_options.hpp"
#include "cli/run_manifest.hpp"
#include "pare/formats/all.hpp"

namespace cli {
namespace {

/// Bits per element of a tensor that is quantized: its code and its share of a scale and a zero
/// point.
std::optional<double> stored_bits(const LayerFormats& formats, const std::string& tensor) {
  constexpr std::string_view ending = ".weight";
  if (!tensor.ends_with(ending)) return std::nullopt;
  const auto found = formats.find(tensor.substr(0, tensor.size() - ending.size()));
  if (found == formats.end() || found->second.is_skip()) return std::nullopt;
  const int code_bits = pare::with_format(found->second.weight_format(),
                                          []<class F>(pare::TypeTag<F>) { return F::code_bits; });
  const auto group = static_cast<double>(std::max<Index>(found->second.weight_group_size(), 0));
  return code_bits + (group > 0.0 ? 24.0 / group : 0.0);
}

/// A tensor beside a layer's weight and bias would be taken for a part of the quantized layer.
void require_no_parts(const engine::Checkpoint& checkpoint, const LayerFormats& formats) {
  for (const std::string& tensor : checkpoint.tensors().names()) {
    const std::size_t dot = std::min(tensor.rfind('.'), tensor.size());
    const auto layer = formats.find(tensor.substr(0, dot));
    const std::string part = tensor.substr(dot);
    if (layer != formats.end() && !layer->second.is_skip() && part != ".weight" && part != ".bias")
      throw pare::FormatError(checkpoint.directory().string() + ": " + tensor +
                              " would be taken for a part of the quantized layer: remove it, or "
                              "skip the layer");
  }
}

std::map<std::string, std::string> texts_of(const LayerFormats& formats) {
  std::map<std::string, std::string> texts;
  for (const auto& [name, format] : formats) texts[name] = format.text();
  return texts;
}

/// What is pruned beside quantization is chosen and made up for by the same sweep.
void require_joint(const PruneRecipe& prune, const Recipe& recipe) {
  prune.validate();
  if (!recipe.uses_gptq())
    throw pare::ArgumentError(
        "pruning and quantization in one pass need --method gptq or awq+gptq, whose sweep makes up "
        "for both; or prune first, and quantize what pare prune wrote");
  if (prune.save_as != PrunedAs::huggingface)
    throw pare::ArgumentError(
        "pruning and quantization in one pass save a quantized model: \"save_as\" of the step "
        "\"prune\" has no effect");
  if (prune.allocate != "uniform" || prune.scope)
    throw pare::ArgumentError(
        "pruning and quantization in one pass give all layers one share: prune first for others");
  if (prune.uses_score())
    throw pare::ArgumentError("--prune " + prune.score +
                              " does not make up for what goes: use sparsegpt or alps");
  if (recipe.act_order && prune.selection().of != 0)
    throw pare::ArgumentError(
        "--act-order does not combine with N:M: it visits columns in another order, and N:M means "
        "neighbours");
}

/// What readers of the files cannot do that pare can.
void print_notes(const Recipe& recipe) {
  const Index g = recipe.weight_group_size();
  const bool four_bits = recipe.format == "int4" || recipe.format == "uint4";
  if (recipe.save_as == SaveAs::gptq && four_bits && g != 32 && g != 64 && g != 128 && g != 256)
    std::fprintf(stderr,
                 "note: transformers' CPU kernel for 4-bit gptq files wants --group-size 32, 64, "
                 "128 or 256; other readers take %td\n",
                 g);
}

}  // namespace

void quantize(const QuantizeCommand& options) {
  const Recipe& recipe = options.recipe;
  recipe.validate();
  refuse_options_without_effect(recipe);
  if (options.prune) require_joint(*options.prune, recipe);
  Runtime runtime = options.model.runtime();
  InputPaths inputs = input_paths(options.model, options.calibration);
  inputs.add_file(options.recipe_file);
  const OutputPath out(options.out, options.force, inputs);
  if (const auto plain = PlainModel::open(options.model.model))
    return quantize_plain(options, *plain, out, runtime.execution());
  if (!recipe.transposed.empty())
    throw pare::ArgumentError("--transposed has no effect here: how the layers of " +
                              options.model.model.string() + " are stored is known");
  const engine::Checkpoint checkpoint(options.model.model);
  require_float(checkpoint, "");
  if (recipe.output_layer != OutputLayer::unchanged && checkpoint.config().tied_embeddings)
    throw pare::ArgumentError("--output-layer int8 has nothing to quantize: the output layer of " +
                              options.model.model.string() +
                              " is its embedding, which stays as it is");
  if (recipe.learns()) require_gradients(checkpoint.config(), "--method autoround");
  const std::vector<LayerShape> layers = layers_of_model(checkpoint.config());
  const LayerFormats formats = formats_of_layers(recipe, layers);
  require_shapes(recipe, formats, layers);
  require_no_parts(checkpoint, formats);
  require_text_files(checkpoint.files());
  RecipeFile saved{.prune = options.prune, .quantize = recipe};
  std::optional<CalibrationWindows> windows;
  (void)window_length(options.model, checkpoint.config());
  if (recipe.needs_calibration())
    windows.emplace(calibration_windows(options.model, options.calibration, checkpoint, saved));
  print_notes(recipe);
  warn_of_short_rows(recipe, layers);
  out.warn_if_no_room(estimated_bytes(
      checkpoint.files(), [&](const std::string& name) { return stored_bits(formats, name); }));

  if (options.prune) {
    std::vector<pare::Shape<2>> shapes;
    for (const LayerShape& layer : layers)
      if (!formats.at(layer.name).is_skip() && !layer.is_output) shapes.push_back(layer.shape);
    print_time_of_update(*options.prune, shapes, runtime.execution());
  }
  const engine::BlockRunner runner(checkpoint.config(), runtime.execution());
  Steps steps;
  steps.push_back(std::make_unique<QuantizeStep>(
      recipe, formats, runner,
      [&](const std::string& tensor) { return checkpoint.tensors().info(tensor).dtype; },
      options.prune));
  const Stopwatch watch;
  nlohmann::json made_by = manifest_of_step(recipe);
  if (options.prune) made_by["prune"] = manifest_of_step(*options.prune);
  const auto counts = compress_model(
      checkpoint, steps,
      {.path = out,
       .layout = layout_of(recipe, formats, checkpoint.config().names.output),
       .manifest = run_manifest(made_by, texts_of(formats), checkpoint, windows),
       .recipe = recipe_json(saved)},
      windows ? &*windows : nullptr, runtime.execution(), "quantizing", recipe.min_expert_tokens);
  std::string counted;
  for (const auto& [what, count] : counts) counted += ", " + std::to_string(count) + " " + what;
  const std::string pruned = options.prune ? options.prune->text() + " + " : "";
  std::printf("%s: %s%s %s, %.1f s%s\n", options.out.string().c_str(), pruned.c_str(),
              std::string(name_of(method_names, recipe.method)).c_str(), recipe.format.c_str(),
              watch.seconds(), counted.c_str());
}

}  // namespace cli
