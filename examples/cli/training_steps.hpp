#pragma once

#include <string>

#include "cli/held_out_text.hpp"
#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "training/trainer.hpp"

namespace cli {

/// The steps that a state in `directory` has not done yet, with their lines and logs; Ctrl-C ends
/// them after one is saved. `key` says what the state belongs to; `held_out` may be null.
///
/// Errors    those of Trainer::step, of states and logs; Error when interrupted, the state saved
void run_steps(training::Trainer& trainer, training::LanguageModel<float>& model,
               const TrainCommand& options, const std::string& key, Index tokens_of_step,
               HeldOutText* held_out, const OutputDirectory& directory,
               const pare::Execution& execution);

}  // namespace cli
