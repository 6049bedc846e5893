#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/evaluation.hpp"
#include "engine/checkpoint.hpp"
#include "training/log/event_file.hpp"
#include "training/trainer.hpp"

namespace cli {

/// A text that is not trained on, and how well it is predicted while others are.
class HeldOutText {
 public:
  /// The first `windows` windows of `length` tokens; 0 is all. Throws ArgumentError for a text of
  /// less than two tokens.
  HeldOutText(Tokens tokens, Index length, Index windows, const pare::Execution& execution);
  HeldOutText(const HeldOutText&) = delete;
  HeldOutText& operator=(const HeldOutText&) = delete;

  /// Measures the model as it is after `steps`.
  void look(training::LanguageModel<float>& model, training::Trainer& trainer, std::int64_t steps);

  /// How it was seen last.
  void add_to(std::vector<training::LoggedValue>& scalars) const;
  [[nodiscard]] std::string text() const;

 private:
  Tokens tokens_;
  EvaluationWindows windows_;
  Evaluator evaluator_;
  pare::Execution execution_;
  training::Pass<float> pass_;
  Quality quality_;
};

}  // namespace cli
