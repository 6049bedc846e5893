#pragma once

#include <string>
#include <vector>

#include "cli/structure/structure_edits.hpp"
#include "cli/structure/structure_recipe.hpp"
#include "engine/block_graph.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// How many of like parts go.
struct PartCount {
  Index removed = 0, parts = 0, groups = 0;

  PartCount& operator+=(const PartCount& other) {
    removed += other.removed;
    parts += other.parts;
    groups += other.groups;
    return *this;
  }
};

/// What is known before the work: how much of which layers goes, and what the smaller model is.
struct StructurePlan {
  engine::ModelConfig now;
  /// Its config.json.
  nlohmann::json config;
  /// What is asked for, where edits say it.
  std::optional<StructureEdits> edits{};
  PartCount count;
  /// Parts of blocks that stay whole, and why: a line each.
  std::vector<std::string> skipped{};
  /// Layers that read what is removed can take up its mean.
  bool has_bias = false;
};

[[nodiscard]] inline engine::HeadUnit head_unit(Structure structure) {
  return structure == Structure::query_heads ? engine::HeadUnit::query_heads
                                             : engine::HeadUnit::key_value_heads;
}

/// Channels of a block that a structure is about.
struct RemovedAxis {
  std::string name;      ///< in the block's graph
  std::size_t consumer;  ///< the layer that reads them, by its place
};
[[nodiscard]] std::vector<RemovedAxis> removed_axes(Structure structure,
                                                    const engine::BlockDescription& block);

/// Errors  ArgumentError when nothing would go or nothing be left, for a bias that the model cannot
///         have and for edits that do not fit the model, FormatError for what its config.json
///         cannot say; ShapeError for edits of a model of another shape
[[nodiscard]] StructurePlan plan_structure(const StructureRecipe& recipe,
                                           const engine::Checkpoint& checkpoint);

/// The model with only these blocks, in this order.
[[nodiscard]] engine::ModelConfig keep_blocks(const engine::ModelConfig& config,
                                              const std::vector<Index>& kept);

}  // namespace cli
