#include "cli/structure/prune_structure.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "cli/gradient_scores.hpp"
#include "cli/inputs.hpp"
#include "cli/model_copy.hpp"
#include "cli/names.hpp"
#include "cli/output_directory.hpp"
#include "cli/pipeline/pipeline.hpp"
#include "cli/progress.hpp"
#include "cli/run_manifest.hpp"
#include "cli/structure/part_scores.hpp"
#include "cli/structure/renumbered_copy.hpp"
#include "cli/structure/structure_report.hpp"
#include "cli/structure/structure_step.hpp"
#include "engine/config_changes.hpp"
#include "pare/io/json.hpp"

namespace cli {
namespace {

/// What all ways of removal share.
struct Work {
  const StructureRecipe& recipe;
  const engine::Checkpoint& checkpoint;
  const CalibrationWindows* windows;
  pare::Execution execution;
  nlohmann::json saved;  // the recipe
};

void remove_channels(const Work& work, const StructurePlan& plan, const OutputPath& out,
                     const nlohmann::json& manifest) {
  const engine::BlockRunner runner(work.checkpoint.config(), work.execution);
  Steps steps;
  training::LayerMatrices gradients;
  if (work.recipe.scores_gradients()) {
    gradients =
        channel_gradients(work.checkpoint.load(work.execution), *work.windows, work.execution);
    work.checkpoint.release_pages();
  }
  steps.push_back(std::make_unique<StructureStep>(work.recipe, plan, runner, std::move(gradients)));
  (void)compress_model(work.checkpoint, steps,
                       {.path = out,
                        .layout = FileLayout::of_float_model(),
                        .manifest = manifest,
                        .recipe = work.saved,
                        .smaller = Output::Smaller{plan.now, plan.config, edits_file_name,
                                                   edits_header(work.recipe.structure)}},
                       work.windows, work.execution, "pruning", work.recipe.min_expert_tokens);
}

/// Shards of tensors as they were, under new names.
void write_copies(const Work& work, const std::vector<std::vector<CopiedTensor>>& shards,
                  const StructurePlan& plan, const StructureEdits& edits,
                  OutputDirectory& directory) {
  for (Index i = 0; i < std::ssize(shards); ++i)
    if (!directory.has_shard(i))
      copy_tensors(work.checkpoint.files(), shards[static_cast<std::size_t>(i)],
                   directory.shard_path(i));
  pare::write_json(directory.file_path("config.json"), plan.config);
  pare::write_json(directory.file_path(edits_file_name), edits_json(edits));
  pare::write_json(directory.file_path(recipe_file_name), work.saved);
  copy_tokenizer(work.checkpoint.files(), directory);
  directory.finish();
}

void remove_blocks(const Work& work, StructurePlan& plan, OutputDirectory& directory) {
  const engine::ModelConfig& config = work.checkpoint.config();
  std::vector<Index> removed;
  if (plan.edits)
    for (const auto& edit : plan.edits->edits)
      removed.insert(removed.end(), edit.edit.indices.begin(), edit.edit.indices.end());
  else
    removed = removed_blocks(work.recipe.own_score(), plan.count.removed, work.checkpoint,
                             work.windows, work.execution);
  std::vector<Index> kept;
  for (Index i = 0; i < config.layers; ++i)
    if (std::find(removed.begin(), removed.end(), i) == removed.end()) kept.push_back(i);
  plan.now = keep_blocks(config, kept);
  plan.config = engine::config_json(work.checkpoint.json(), config, plan.now, kept);
  const StructureEdits edits{Structure::blocks, {{0, {{"blocks"}, config.layers, removed}}}};
  write_copies(work, tensors_without_blocks(work.checkpoint, kept), plan, edits, directory);
  std::string names;
  for (const Index block : removed) names += (names.empty() ? "" : ", ") + std::to_string(block);
  std::printf("removed block%s %s\n", removed.size() == 1 ? "" : "s", names.c_str());
}

void remove_experts(const Work& work, const StructurePlan& plan, OutputDirectory& directory) {
  const engine::ModelConfig& config = work.checkpoint.config();
  std::vector<std::vector<double>> scores;
  if (!plan.edits)
    scores = expert_scores(work.recipe.own_score(), work.checkpoint, work.windows, work.execution);
  StructureEdits edits{Structure::experts, {}};
  std::vector<std::vector<Index>> kept(static_cast<std::size_t>(config.layers));
  for (Index i = 0; i < config.layers; ++i) {
    const auto& experts = config.block(i).experts;
    if (!experts) continue;
    std::vector<Index> removed;
    if (plan.edits) {
      for (const auto& edit : plan.edits->of_block(i))
        removed.insert(removed.end(), edit.indices.begin(), edit.indices.end());
    } else {
      removed = lowest_parts(scores[static_cast<std::size_t>(i)],
                             experts->count - plan.now.block(i).experts->count);
    }
    for (Index e = 0; e < experts->count; ++e)
      if (std::find(removed.begin(), removed.end(), e) == removed.end())
        kept[static_cast<std::size_t>(i)].push_back(e);
    edits.edits.push_back({i, {{"experts"}, experts->count, std::move(removed)}});
  }
  write_copies(work, tensors_without_experts(work.checkpoint, plan.now, kept), plan, edits,
               directory);
}

}  // namespace

void prune_structure(const PruneCommand& options, const StructureRecipe& given) {
  StructureRecipe recipe = given;
  recipe.validate();
  refuse_options_without_effect(recipe);
  if (!recipe.replay.empty()) recipe.structure = read_edits(recipe.replay).structure;
  Runtime runtime = options.model.runtime();
  InputPaths inputs = input_paths(options.model, options.calibration);
  inputs.add_file(options.recipe_file);
  inputs.add_file(recipe.replay);
  const OutputPath out(options.out, options.force, inputs);
  const engine::Checkpoint checkpoint(options.model.model);
  require_float(checkpoint, ": prune before quantizing");
  StructurePlan plan = plan_structure(recipe, checkpoint);
  require_text_files(checkpoint.files());
  RecipeFile saved{.structure = recipe};
  std::optional<CalibrationWindows> windows;
  if (recipe.needs_calibration())
    windows.emplace(calibration_windows(options.model, options.calibration, checkpoint, saved));
  out.warn_if_no_room(
      estimated_bytes(checkpoint.files(), [](const std::string&) { return std::nullopt; }));
  if (recipe.update == StructureUpdate::refit && !plan.has_bias)
    std::fprintf(stderr, "note: the config.json of %s models has no bias there: refit without\n",
                 checkpoint.config().family.c_str());
  if (plan.now.keys.heads_divide_hidden && plan.now.hidden_size % plan.now.heads != 0)
    std::fprintf(
        stderr,
        "note: transformers 5 loads %s models only where the heads divide hidden_size: %td "
        "are left, of %td\n",
        plan.now.family.c_str(), plan.now.heads, plan.now.hidden_size);
  const Work work{recipe, checkpoint, windows ? &*windows : nullptr, runtime.execution(),
                  recipe_json(saved)};
  nlohmann::json options_of_run = manifest_of_step(recipe);
  if (plan.edits) options_of_run["edits"] = edits_json(*plan.edits);
  const auto manifest = run_manifest(std::move(options_of_run), {}, checkpoint, windows);

  const Stopwatch watch;
  if (recipe.removes_channels()) {
    remove_channels(work, plan, out, manifest);
  } else {
    // A shard for each block and one for the rest.
    OutputDirectory directory(out, manifest, plan.now.layers + 1);
    if (recipe.structure == Structure::blocks)
      remove_blocks(work, plan, directory);
    else
      remove_experts(work, plan, directory);
  }
  std::printf("%s: %s, %.1f s\n", options.out.string().c_str(), recipe.text().c_str(),
              watch.seconds());
  print_achieved(recipe, plan, checkpoint, engine::Checkpoint(out.directory()),
                 runtime.execution());
}

}  // namespace cli
