#pragma once

#include <span>
#include <vector>

#include "cli/pipeline/calibration_stream.hpp"
#include "cli/structure/structure_recipe.hpp"
#include "engine/checkpoint.hpp"
#include "pare/core/tensor.hpp"

namespace cli {

/// How important whole blocks are to the model as it is, low = unimportant. Of a score of runs
/// (angular) each result is that of `run` blocks from this one, and there are fewer results. One
/// pass, a block in memory at a time; `windows` may be null where the score needs none.
[[nodiscard]] std::vector<double> block_scores(StructureScore score, Index run,
                                               const engine::Checkpoint& checkpoint,
                                               const CalibrationWindows* windows,
                                               const pare::Execution& execution);

/// The `count` lowest of some scores, ascending; of equal ones the first.
[[nodiscard]] std::vector<Index> lowest_parts(std::span<const double> scores, Index count);

/// Which blocks go: `count` of them, ascending.
[[nodiscard]] std::vector<Index> removed_blocks(StructureScore score, Index count,
                                                const engine::Checkpoint& checkpoint,
                                                const CalibrationWindows* windows,
                                                const pare::Execution& execution);

/// How important the experts of each block are; empty of blocks that have none.
[[nodiscard]] std::vector<std::vector<double>> expert_scores(StructureScore score,
                                                             const engine::Checkpoint& checkpoint,
                                                             const CalibrationWindows* windows,
                                                             const pare::Execution& execution);

}  // namespace cli
