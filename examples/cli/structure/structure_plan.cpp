#include "cli/structure/structure_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "cli/names.hpp"
#include "engine/config_changes.hpp"

namespace cli {
namespace {

using engine::Role;

/// A block whose layers are not in memory.
engine::Block described(const engine::ModelConfig& config, Index block) {
  engine::Block result;
  result.description = config.block(block);
  return result;
}

[[nodiscard]] std::vector<Index> all_blocks(const engine::ModelConfig& config) {
  std::vector<Index> blocks(static_cast<std::size_t>(config.layers));
  std::iota(blocks.begin(), blocks.end(), Index{0});
  return blocks;
}

/// Gives the layers that read removed channels a bias, in the description of the smaller model.
/// Where one flag is of several layers, all of them get one.
bool add_biases(const engine::ModelConfig& before, Role reader, engine::ModelConfig& now) {
  const auto found = before.blocks.front().find(reader);
  if (found && before.blocks.front().linears[found->linear].bias) return true;
  const auto key = before.keys.biases.find(reader);
  if (!found || key == before.keys.biases.end()) return false;
  for (engine::BlockDescription& block : now.blocks)
    for (const auto& [role, name] : before.keys.biases)
      if (name == key->second)
        if (const auto layer = block.find(role)) block.linears[layer->linear].bias = true;
  return true;
}

/// What the edits of a block do to its axes. Throws ArgumentError for an axis that it has not.
PartCount apply_edits(const StructureEdits& edits, const std::vector<RemovedAxis>& axes,
                      Index index, pare::DependencyGraph& graph) {
  PartCount count;
  for (const pare::StructureEdit& edit : edits.of_block(index)) {
    if (std::none_of(axes.begin(), axes.end(),
                     [&](const RemovedAxis& axis) { return axis.name == edit.root.tensor; }))
      throw pare::ArgumentError("block " + std::to_string(index) + " has no \"" + edit.root.tensor +
                                "\" that --replay could cut");
    (void)graph.apply(edit);
    count += {std::ssize(edit.indices), edit.extent, 1};
  }
  return count;
}

std::string why_none(const StructureRecipe& recipe, const std::string& axis, Index channels) {
  if (channels == 1)
    return axis == engine::heads_axis
               ? "there is but one, whose query heads --structure query-heads takes"
               : "there is but one";
  return "all " + std::to_string(channels) + " stay, for " +
         (recipe.multiple > 1 ? "fewer are no multiple of " + std::to_string(recipe.multiple)
                              : "the ratio takes none");
}

/// The same with counts alone: which channels go is not known yet.
PartCount remove_any(const StructureRecipe& recipe, const std::vector<RemovedAxis>& axes,
                     const std::string& prefix, pare::DependencyGraph& graph,
                     std::vector<std::string>& skipped) {
  PartCount count;
  for (const auto& [axis, consumer] : axes) {
    const pare::ChannelGroup group = graph.group_of({axis});
    const std::vector<double> scores(static_cast<std::size_t>(group.channels()));
    const auto removed = pare::select_channels(group, scores, recipe.selection());
    if (removed.empty()) {
      skipped.push_back(prefix + axis + ": " + why_none(recipe, axis, group.channels()));
    } else {
      (void)graph.remove(group, removed);
    }
    count += {std::ssize(removed), group.channels(), 1};
  }
  return count;
}

void plan_channels(const StructureRecipe& recipe, const engine::ModelConfig& config,
                   StructurePlan& plan) {
  std::vector<engine::BlockDescription> blocks;
  for (Index i = 0; i < config.layers; ++i) {
    engine::Block block = described(config, i);
    pare::DependencyGraph graph = engine::block_graph(config, block, head_unit(recipe.structure));
    const std::vector<RemovedAxis> axes = removed_axes(recipe.structure, block.description);
    plan.count += plan.edits
                      ? apply_edits(*plan.edits, axes, i, graph)
                      : remove_any(recipe, axes, config.block_prefix(i), graph, plan.skipped);
    engine::slice_block(graph, block);
    blocks.push_back(std::move(block.description));
  }
  plan.now = engine::resize(config, std::move(blocks));
  if (recipe.update == StructureUpdate::none) return;
  const Role reader = recipe.structure == Structure::mlp ? Role::down : Role::attention_output;
  plan.has_bias = add_biases(config, reader, plan.now);
  if (!plan.has_bias && recipe.update == StructureUpdate::bias)
    throw pare::ArgumentError("--update bias: the config.json of " + config.family +
                              " models has no bias for " +
                              (reader == Role::down ? "the last layer of feed-forward halves"
                                                    : "the output layer of attention") +
                              "; --update refit works without");
}

void plan_experts(const StructureRecipe& recipe, const engine::ModelConfig& config,
                  StructurePlan& plan) {
  std::vector<engine::BlockDescription> blocks = config.blocks;
  for (Index i = 0; i < config.layers; ++i) {
    engine::BlockDescription& block = blocks[static_cast<std::size_t>(i)];
    if (!block.experts) {
      plan.skipped.push_back(config.block_prefix(i) + "*: there are no experts");
      continue;
    }
    const Index count = block.experts->count;
    Index removed = pare::removed_channels(count, recipe.selection());
    if (plan.edits) {
      removed = 0;
      for (const pare::StructureEdit& edit : plan.edits->of_block(i)) {
        if (edit.extent != count)
          throw pare::ShapeError("edits of " + std::to_string(edit.extent) +
                                 " experts do not fit a block of " + std::to_string(count));
        removed += std::ssize(edit.indices);
      }
    }
    if (count - removed < block.experts->chosen)
      throw pare::ArgumentError(std::to_string(count - removed) + " of " + std::to_string(count) +
                                " experts would stay, but a token goes to " +
                                std::to_string(block.experts->chosen) + ": use a smaller --ratio");
    block.experts->count = count - removed;
    std::erase_if(block.linears, [&](const engine::LinearDescription& linear) {
      return linear.expert >= count - removed;
    });
    plan.count += {removed, count, 1};
  }
  plan.now = engine::resize(config, std::move(blocks));
}

void plan_blocks(const StructureRecipe& recipe, const engine::ModelConfig& config,
                 StructurePlan& plan) {
  std::vector<Index> kept = all_blocks(config);
  if (plan.edits) {
    for (const StructureEdits::Edit& edit : plan.edits->edits) {
      if (edit.edit.extent != config.layers)
        throw pare::ShapeError("edits of " + std::to_string(edit.edit.extent) +
                               " blocks do not fit a model of " + std::to_string(config.layers));
      for (const Index gone : edit.edit.indices) std::erase(kept, gone);
    }
    if (kept.empty()) throw pare::ArgumentError("no block would be left");
  } else {
    kept.resize(kept.size() - static_cast<std::size_t>(
                                  pare::removed_channels(config.layers, recipe.selection())));
  }
  plan.count = {config.layers - std::ssize(kept), config.layers, 1};
  plan.now = keep_blocks(config, kept);
  plan.config = engine::config_json(plan.config, config, plan.now, kept);
}

}  // namespace

std::vector<RemovedAxis> removed_axes(Structure structure, const engine::BlockDescription& block) {
  const auto kind = structure == Structure::mlp ? engine::Site::Kind::feed_forward_hidden
                                                : engine::Site::Kind::attention_output;
  std::vector<RemovedAxis> axes;
  for (std::size_t i = 0; i < block.linears.size(); ++i)
    if (block.linears[i].site.kind == kind)
      axes.push_back({structure == Structure::mlp
                          ? engine::feed_forward_axis(block.linears[i].expert)
                          : engine::heads_axis,
                      i});
  return axes;
}

engine::ModelConfig keep_blocks(const engine::ModelConfig& config, const std::vector<Index>& kept) {
  std::vector<engine::BlockDescription> blocks;
  for (const Index block : kept) blocks.push_back(config.block(block));
  return engine::resize(config, std::move(blocks));
}

StructurePlan plan_structure(const StructureRecipe& recipe, const engine::Checkpoint& checkpoint) {
  const engine::ModelConfig& config = checkpoint.config();
  StructurePlan plan;
  plan.config = checkpoint.json();
  if (!recipe.replay.empty()) plan.edits = read_edits(recipe.replay);
  pare::with_context(plan.edits ? recipe.replay : checkpoint.directory().string(), [&] {
    if (plan.edits && plan.edits->edits.empty())
      throw pare::ArgumentError("the list of edits is empty");
    if (plan.edits)
      for (const StructureEdits::Edit& edit : plan.edits->edits)
        if (edit.block >= config.layers)
          throw pare::ShapeError("an edit of block " + std::to_string(edit.block) +
                                 " does not fit a model of " + std::to_string(config.layers));
    if (recipe.removes_channels())
      plan_channels(recipe, config, plan);
    else if (recipe.structure == Structure::experts)
      plan_experts(recipe, config, plan);
    else
      plan_blocks(recipe, config, plan);
    if (plan.count.parts == 0)
      throw pare::ArgumentError("--structure " +
                                std::string(name_of(structure_names, recipe.structure)) +
                                ": the model has none");
    if (plan.count.removed == 0)
      throw pare::ArgumentError("nothing would go: " +
                                (plan.edits ? std::string("the edits name nothing")
                                 : plan.skipped.empty()
                                     ? "--ratio " + std::to_string(recipe.ratio) + " of " +
                                           std::to_string(plan.count.parts / plan.count.groups) +
                                           " is none"
                                     : plan.skipped.front()));
    if (recipe.structure != Structure::blocks)
      plan.config = engine::config_json(plan.config, config, plan.now, all_blocks(config));
  });
  return plan;
}

}  // namespace cli
