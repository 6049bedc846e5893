#include "cli/training_steps.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <optional>
#include <vector>

#include "cli/progress.hpp"
#include "training/log/step_log.hpp"
#include "training/training_state.hpp"

namespace cli {
namespace {

/// Set by Ctrl-C: the step that runs is finished, its state saved.
std::atomic<bool> interrupted{false};

/// Between its making and its end Ctrl-C sets `interrupted`.
class CatchInterrupt {
 public:
  CatchInterrupt() : before_(std::signal(SIGINT, [](int) { interrupted.store(true); })) {
    interrupted.store(false);
  }
  CatchInterrupt(const CatchInterrupt&) = delete;
  CatchInterrupt& operator=(const CatchInterrupt&) = delete;
  ~CatchInterrupt() { std::signal(SIGINT, before_); }

 private:
  void (*before_)(int);
};

/// What is logged of a step.
std::vector<training::LoggedValue> scalars_of(const training::StepReport& report,
                                              double tokens_per_second) {
  std::vector<training::LoggedValue> scalars{{"loss", report.loss}};
  for (const auto& term : report.terms) scalars.push_back({"loss/" + term.name, term.value});
  scalars.push_back({"gradient_norm", report.gradient_norm});
  for (const auto& term : report.terms)
    scalars.push_back({"gradient_norm/" + term.name, term.gradient_norm});
  scalars.push_back({"lr", report.rate});
  scalars.push_back({"tokens_per_second", tokens_per_second});
  return scalars;
}

std::string step_text(const training::StepReport& report, double tokens_per_second) {
  char text[160];
  std::snprintf(text, sizeof text, "loss %.5f, gradient %.3f, %.0f tokens/s", report.loss,
                report.gradient_norm, tokens_per_second);
  return text;
}

}  // namespace

void run_steps(training::Trainer& trainer, training::LanguageModel<float>& model,
               const TrainCommand& options, const std::string& key, Index tokens_of_step,
               HeldOutText* held_out, const OutputDirectory& directory,
               const pare::Execution& execution) {
  const Index steps = options.recipe.steps;
  const std::filesystem::path state = directory.file_path(training_state_name);
  const std::int64_t done = training::load_state(state, key, trainer.trainables(),
                                                 trainer.optimizer(), trainer.state_parts())
                                .value_or(0);
  if (done > 0)
    std::fprintf(stderr, "resuming: %lld of %td steps are done\n", static_cast<long long>(done),
                 steps);
  std::optional<training::StepLog> log;
  if (!options.log.empty()) log.emplace(options.log, done);
  const CatchInterrupt catch_interrupt;
  std::int64_t saved = done;
  const auto save = [&](std::int64_t finished) {
    training::save_state(state, key, trainer.trainables(), trainer.optimizer(), finished,
                         trainer.state_parts());
    saved = finished;
  };
  Progress progress("training", steps, done, "step");
  const auto look = [&](std::int64_t finished) {
    if (!held_out) return;
    held_out->look(model, trainer, finished);
    progress.clear();
    std::printf("%5lld steps: %s\n", static_cast<long long>(finished), held_out->text().c_str());
    std::fflush(stdout);
  };
  look(done);
  for (std::int64_t step = done; step < steps; ++step) {
    progress.pass(step);
    const Stopwatch one;
    training::StepReport report;
    try {
      report = trainer.step(step, execution);
    } catch (const pare::NumericError&) {
      if (saved < step) save(step);
      throw;
    }
    const bool is_last = step + 1 == steps;
    const double speed = static_cast<double>(tokens_of_step) / one.seconds();
    const std::string text = step_text(report, speed);
    if (step % options.print_every == 0 || is_last) {
      progress.clear();
      std::printf("step %5lld: %s\n", static_cast<long long>(step), text.c_str());
      std::fflush(stdout);
    }
    if (held_out && ((step + 1) % options.eval_every == 0 || is_last)) look(step + 1);
    if (log) {
      auto scalars = scalars_of(report, speed);
      if (held_out) held_out->add_to(scalars);
      log->add(step, scalars);
    }
    progress.step(text, 1.0);
    if (interrupted.load() || (step + 1) % options.save_every == 0 || is_last) save(step + 1);
    if (interrupted.load() && !is_last)
      throw pare::Error("interrupted after step " + std::to_string(step));
  }
}

}  // namespace cli
