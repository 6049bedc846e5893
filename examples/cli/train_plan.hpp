#pragma once

#include <filesystem>

#include "cli/options.hpp"

namespace cli {

/// Name of the file in the directory of a plan that says which stages are done.
inline constexpr const char* plan_record_name = "pare_plan.json";

/// Trains in stages, one after the other, as a file says:
///
///     {"version": 1,
///      "stages": [{"name": "assistant", "student": "half-depth", "steps": 400,
///                  "loss": "ce:0.5,kd:0.5:T=2"},
///                 {"name": "small", "model": "assistant", "student": "half-depth", "steps": 400,
///                  "teachers": ["assistant", "MODEL"]}]}
///
/// A stage's fields are those of the step "train" of recipe files, and
///
///     name      what it writes lies in `command.out` / name
///     model     what is trained, or what its student is made of: the name of a stage before, MODEL
///               for that of the command (the default), or a directory
///     teachers  a list of such models
///
/// Everything else is the command's. Stages that are done are not done again; one that was killed
/// goes on. The last stage is what the plan is for.
///
/// Errors    FormatError and ArgumentError naming file, stage and field before the first stage;
///           ArgumentError where the directory is of another plan, or holds another stage of a name
void train_plan(const TrainCommand& command);

}  // namespace cli
