#pragma once

#include <functional>
#include <map>
#include <string>

#include "cli/pipeline/block_pass.hpp"
#include "cli/pipeline/model_writer.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

using BeforeBlocks = std::function<void(const OutputDirectory& directory)>;

/// Leads the blocks of `checkpoint` through the steps into a new model directory, one in memory at
/// a time, and goes on where an earlier run with the same manifest ended. Progress and notices go
/// to standard error. Returns what the steps counted in the blocks that this run made.
///
/// `windows` may be null when no step needs calibration; `title` says what is done: "quantizing".
/// For `least_expert_tokens` see BlockPass. `before` is called once the output directory is there
/// and before the first block that is not finished: for work on all blocks at once.
std::map<std::string, Index> compress_model(const engine::Checkpoint& checkpoint,
                                            const Steps& steps, const Output& output,
                                            const CalibrationWindows* windows,
                                            const pare::Execution& execution,
                                            const std::string& title, Index least_expert_tokens,
                                            const BeforeBlocks& before = {});

}  // namespace cli
