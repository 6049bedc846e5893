#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "cli/inputs.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"
#include "pare/core/random.hpp"

namespace cli {
namespace {

/// The likeliest token, or one drawn from softmax(logits / temperature).
std::int32_t pick(pare::VectorView<const float> logits, double temperature, pare::Random& random) {
  const float* begin = logits.data();
  const float* largest = std::max_element(begin, begin + logits.size());
  if (temperature == 0.0) return static_cast<std::int32_t>(largest - begin);
  std::vector<double> cumulative(static_cast<std::size_t>(logits.size()));
  double sum = 0.0;
  for (Index j = 0; j < logits.size(); ++j)
    cumulative[static_cast<std::size_t>(j)] = sum +=
        std::exp((static_cast<double>(logits[j]) - static_cast<double>(*largest)) / temperature);
  const double drawn = static_cast<double>(random.uniform()) * sum;
  const auto found = std::upper_bound(cumulative.begin(), cumulative.end() - 1, drawn);
  return static_cast<std::int32_t>(found - cumulative.begin());
}

}  // namespace

void generate(const GenerateCommand& options) {
  const pare::Execution execution = options.model.execution();
  if (options.length < 1)
    throw pare::ArgumentError("--length " + std::to_string(options.length) + " is not positive");
  if (!(options.temperature >= 0.0) || !std::isfinite(options.temperature))
    throw pare::ArgumentError("--temperature " + std::to_string(options.temperature) +
                              " is not a finite number from 0");
  const engine::Checkpoint checkpoint(options.model.model);
  Tokenizer tokenizer(checkpoint.directory(), checkpoint.config());
  const Tokens prompt = tokenizer.encode(options.prompt);
  const Index start = static_cast<Index>(prompt.ids.size());
  const Index context = checkpoint.config().max_positions;
  if (start >= context)
    throw pare::ArgumentError("the prompt has " + std::to_string(start) +
                              " tokens, the model's context is " + std::to_string(context));
  const engine::Model model = checkpoint.load();
  engine::Decoder decoder(model, execution);
  pare::Random random(options.seed);

  const Index capacity = std::min(context, start + options.length);
  std::vector<std::int32_t> ids = prompt.ids;
  decoder.start(capacity);
  std::string printed = tokenizer.decode(ids);
  std::fwrite(printed.data(), 1, printed.size(), stdout);
  auto logits = decoder.extend(ids);
  const Stopwatch watch;
  while (static_cast<Index>(ids.size()) < capacity) {
    ids.push_back(pick(logits.row(0), options.temperature, random));
    // Whole texts are compared, because a token alone may be a part of a character.
    const std::string text = tokenizer.decode(ids);
    if (text.size() > printed.size())
      std::fwrite(text.data() + printed.size(), 1, text.size() - printed.size(), stdout);
    std::fflush(stdout);
    printed = text;
    if (static_cast<Index>(ids.size()) < capacity)
      logits = decoder.extend(std::span<const std::int32_t>(ids).last(1));
  }
  std::printf("\n");
  const double made = static_cast<double>(capacity - start);
  std::fprintf(stderr, "%.0f tokens, %.0f tokens/s\n", made, made / watch.seconds());
}

}  // namespace cli
