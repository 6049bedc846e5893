#include "cli/held_out_text.hpp"

#include <cstdio>
#include <utility>

namespace cli {

HeldOutText::HeldOutText(Tokens tokens, Index length, Index windows,
                         const pare::Execution& execution)
    : tokens_(std::move(tokens)),
      windows_(tokens_, length, windows),
      evaluator_(windows_, nullptr, execution),
      execution_(execution) {}

void HeldOutText::look(training::LanguageModel<float>& model, training::Trainer& trainer,
                       std::int64_t steps) {
  trainer.show(steps, execution_);
  const auto logits = [&](Index first, Index count) {
    model.forward(windows_.inputs(first, count), windows_.length(), pass_, execution_);
    return pass_.logits;
  };
  quality_ = evaluator_.measure(logits, model.config().vocab_size, [](double) {});
}

void HeldOutText::add_to(std::vector<training::LoggedValue>& scalars) const {
  scalars.push_back({"eval/loss", quality_.nats_per_token});
  if (const auto bits = quality_.bits_per_byte(tokens_))
    scalars.push_back({"eval/bits_per_byte", *bits});
}

std::string HeldOutText::text() const {
  char text[80];
  const auto bits = quality_.bits_per_byte(tokens_);
  if (bits)
    std::snprintf(text, sizeof text, "eval loss %.5f, %.4f bits per byte", quality_.nats_per_token,
                  *bits);
  else
    std::snprintf(text, sizeof text, "eval loss %.5f", quality_.nats_per_token);
  return text;
}

}  // namespace cli
