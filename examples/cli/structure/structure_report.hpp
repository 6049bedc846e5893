#pragma once

#include "cli/structure/structure_plan.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// Multiplications of the linear layers for a token, the output layer's included.
[[nodiscard]] double multiply_adds(const engine::ModelConfig& config);

/// Prints what was asked for and what was reached: parts, parameters, multiply-adds, and the time
/// of the blocks, measured on the first by turns.
void print_achieved(const StructureRecipe& recipe, const StructurePlan& plan,
                    const engine::Checkpoint& before, const engine::Checkpoint& after,
                    const pare::Execution& execution);

}  // namespace cli
