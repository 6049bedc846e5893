#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/structure/structure_recipe.hpp"
#include "pare/pruning/structure/dependency_graph.hpp"

namespace cli {

inline constexpr const char* edits_file_name = "pare_edits.json";

/// What was taken out of a model, as a file:
///
///     {"version": 1, "structure": "mlp",
///      "edits": [{"block": 0, "root": "feed_forward", "extent": 1024, "indices": [3, 7]}, ...]}
///
/// `root` is an axis of the block's graph (engine/block_graph.hpp), "experts", or, without a block,
/// "blocks".
struct StructureEdits {
  struct Edit {
    Index block = 0;
    pare::StructureEdit edit;
  };
  Structure structure = Structure::mlp;
  std::vector<Edit> edits{};

  /// The edits of one block.
  [[nodiscard]] std::vector<pare::StructureEdit> of_block(Index block) const;
};

[[nodiscard]] nlohmann::json edits_json(const StructureEdits& edits);
/// Throws FormatError naming file and field.
[[nodiscard]] StructureEdits read_edits(const std::filesystem::path& path);

/// One edit of a block by itself, as shards keep them, and what the file says beside them.
[[nodiscard]] nlohmann::json edit_json(Index block, const pare::StructureEdit& edit);
[[nodiscard]] nlohmann::json edits_header(Structure structure);

}  // namespace cli
