#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "labs/bits_per_byte.hpp"
#include "labs/expectation.hpp"
#include "labs/program.hpp"
#include "labs/texts.hpp"
#include "training/trainer.hpp"

namespace lab {

/// What a lab that trains begins with: the float model, batches of 8 windows of its calibration
/// text, or of another one, and how good it is on a text that it has not seen.
struct Beginning {
  std::int64_t steps;
  bool in_part;  ///< for a glance: models are measured on a part of the text
  pare::Execution execution;
  engine::Model model;
  std::vector<std::int32_t> ids;
  training::TextBatches batches;
  std::string text;
  Measured whole;

  Beginning(const std::filesystem::path& directory, std::int64_t all_steps, bool glance,
            const std::filesystem::path& learned_from, const pare::Execution& run_with)
      : steps(all_steps),
        in_part(glance),
        execution(run_with),
        model(engine::Checkpoint(directory).load(execution)),
        ids(read_ids(learned_from)),
        batches(ids, 256, 8, 1),
        text(read_text(directory / "eval.txt", in_part)),
        whole(measure(model, text, execution)) {}
};

/// The program NAME [MODEL [STEPS [TEXT]]]: calls run(beginning), and says what went wrong. Fewer
/// steps than are usual are for a glance.
template <class Run>
int train_program(const char* name, int argc, char** argv, const Run& run,
                  std::int64_t usual_steps = 60) {
  return program(name, [&](const pare::Execution& execution) {
    const std::filesystem::path directory = argc > 1 ? argv[1] : PARE_DEMO_MODEL_DIR;
    const std::int64_t steps = argc > 2 ? std::atol(argv[2]) : usual_steps;
    const std::filesystem::path text = argc > 3 ? argv[3] : directory / "calib.txt";
    run(Beginning(directory, steps, steps < usual_steps, text, execution));
  });
}

/// Trains for so many steps of 8 sequences, and prints the loss at the beginning and at the end.
inline void train(training::Trainer& trainer, std::int64_t steps,
                  const pare::Execution& execution) {
  double first = 0.0, last = 0.0;
  for (std::int64_t step = 0; step < steps; ++step) {
    last = trainer.step(step, execution).loss;
    if (step == 0) first = last;
  }
  trainer.settle(execution);
  std::printf("  %lld steps: loss %.4f, then %.4f\n", static_cast<long long>(steps), first, last);
}

}  // namespace lab
