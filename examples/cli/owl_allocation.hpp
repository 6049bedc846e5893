#pragma once

#include <functional>

#include "cli/pipeline/calibration_stream.hpp"
#include "cli/prune_recipe.hpp"
#include "cli/pruned_layers.hpp"

namespace cli {

/// Of --allocate owl: the sparsity of each layer, which is that of its block. Blocks whose layers
/// have many outliers in the float model on the calibration text lose less.
///
/// `block_of` gives the model's blocks, each once and in order; of experts that are read when they
/// are used one is in memory at a time. Progress goes to standard error. Throws ArgumentError where
/// a block would lose all its weights, or less than none.
void allocate_by_outliers(const PruneRecipe& recipe,
                          const std::function<engine::Block(Index)>& block_of,
                          const engine::BlockRunner& runner, const engine::Embedding& embedding,
                          const CalibrationWindows& windows, PrunedLayers& layers);

}  // namespace cli
