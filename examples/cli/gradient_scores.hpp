#pragma once

#include "cli/pipeline/calibration_stream.hpp"
#include "cli/prune_recipe.hpp"
#include "cli/pruned_layers.hpp"
#include "engine/model.hpp"
#include "training/gradient_statistics.hpp"

namespace cli {

/// Of scores that ask for gradients (PruneRecipe::scores_gradients): those of all layers, in the
/// float model on the calibration text. Progress goes to standard error.
///
/// Throws ArgumentError for models that cannot be trained.
void score_by_gradients(const PruneRecipe& recipe, const engine::Model& model,
                        const CalibrationWindows& windows, const pare::Execution& execution,
                        PrunedLayers& layers);

/// The gradient of each layer of the float model, for scores of channels. As score_by_gradients.
[[nodiscard]] training::LayerMatrices channel_gradients(const engine::Model& model,
                                                        const CalibrationWindows& windows,
                                                        const pare::Execution& execution);

}  // namespace cli
