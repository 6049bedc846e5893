#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/prune_recipe.hpp"
#include "cli/recipe.hpp"
#include "cli/structure/structure_recipe.hpp"
#include "cli/train_recipe.hpp"

namespace cli {

/// What a recipe file says:
///
///     {"version": 1,
///      "calibration": {"window": 512, "windows": 0, "stride": 1},
///      "steps": [{"step": "prune", "update": "sparsegpt", "pattern": "2:4"},
///                {"step": "quantize", "method": "gptq", "format": "int4", "group_size": 64,
///                 "rules": [{"match": ".*down_proj", "format": "int8", "group_size": -1},
///                           {"match": "model\\.layers\\.0\\..*", "format": "skip"}]}]}
///
/// A step "prune" that names a "structure" takes parts out (structure/structure_recipe.hpp), a step
/// "train" trains (train_recipe.hpp); each of them is alone. Else there is one of each step, in
/// this order; both are done in one pass over the model. A step's fields are the options of the
/// command line (recipe_options.hpp, prune_recipe.hpp). "calibration" may be left out: `window`
/// tokens in a window, of which every `stride`-th is used, the first `windows` of them, 0 meaning
/// all.
struct RecipeFile {
  std::optional<PruneRecipe> prune{};
  std::optional<StructureRecipe> structure{};
  std::optional<Recipe> quantize{};
  std::optional<TrainRecipe> train{};
  std::optional<Index> window{}, windows{}, stride{};
};

/// Throws FormatError and ArgumentError, in one line that names file and field, for unknown fields
/// and for values of another type than theirs.
[[nodiscard]] RecipeFile read_recipe(const std::filesystem::path& path);

/// The command that follows a recipe, "pare prune".
[[nodiscard]] std::string command_of(const RecipeFile& recipe);

/// The recipe spelled out, for a file that does the same whatever defaults become.
[[nodiscard]] nlohmann::json recipe_json(const RecipeFile& recipe);

}  // namespace cli
