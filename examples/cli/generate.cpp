#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "cli/inputs.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"
#include "cli/standard_output.hpp"
#include "cli/text_stream.hpp"
#include "cli/tokenizer.hpp"
#include "engine/end_tokens.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/random.hpp"

namespace cli {
namespace {

/// The likeliest token, or one drawn from softmax(logits / temperature).
std::int32_t pick(pare::VectorView<const float> logits, double temperature, pare::Random& random) {
  const float* begin = logits.data();
  const float* largest = std::max_element(begin, begin + logits.size());
  pare::require_finite(pare::MatrixView<const float>(begin, {1, logits.size()}), "the logits");
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
  Runtime runtime = options.model.runtime();
  if (options.length < 1)
    throw pare::ArgumentError("--length " + std::to_string(options.length) + " is not positive");
  if (!(options.temperature >= 0.0) || !std::isfinite(options.temperature))
    throw pare::ArgumentError("--temperature " + std::to_string(options.temperature) +
                              " is not a finite number from 0");
  if (options.prompt.empty() == options.tokens.empty())
    throw pare::ArgumentError("give either --prompt TEXT, not empty, or --tokens FILE");
  const engine::Checkpoint checkpoint = open_model(options.model);
  const auto& config = checkpoint.config();
  if (config.encoder)
    throw pare::ArgumentError(options.model.model.string() + " is an encoder (" + config.family +
                              "), which continues no text; see pare eval and pare logits");
  Tokenizer tokenizer(checkpoint.directory(), config);
  const bool is_text = options.tokens.empty();
  std::vector<std::int32_t> ids = is_text ? tokenizer.encode_prompt(options.prompt).ids
                                          : read_token_file(options.tokens, config.vocab_size).ids;
  const Index start = static_cast<Index>(ids.size());
  if (start >= config.max_positions)
    throw pare::ArgumentError("the prompt has " + std::to_string(start) +
                              " tokens, the model's context is " +
                              std::to_string(config.max_positions));
  const Index capacity = start + std::min(options.length, config.max_positions - start);
  checkpoint.require_forward();
  const std::vector<Index> ends = engine::end_tokens(checkpoint.directory(), config);
  const engine::Model model = checkpoint.load(runtime.execution());
  engine::Decoder decoder(model, runtime.execution());
  pare::Random random(options.seed);

  decoder.start(capacity);
  TextStream stream([&](std::span<const std::int32_t> tokens) { return tokenizer.decode(tokens); });
  const auto print = [](const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
  };
  if (is_text) print(stream.add(ids));
  auto logits = decoder.extend(ids);
  const Stopwatch watch;
  while (static_cast<Index>(ids.size()) < capacity) {
    ids.push_back(pick(logits.row(0), options.temperature, random));
    if (std::find(ends.begin(), ends.end(), ids.back()) != ends.end()) break;
    if (is_text)
      print(stream.add(std::span<const std::int32_t>(ids).last(1)));
    else
      std::printf("%d\n", ids.back());
    flush_standard_output();
    if (static_cast<Index>(ids.size()) < capacity)
      logits = decoder.extend(std::span<const std::int32_t>(ids).last(1));
  }
  if (is_text) print(stream.finish() + "\n");
  flush_standard_output();
  const double made = static_cast<double>(static_cast<Index>(ids.size()) - start);
  std::fprintf(stderr, "%.0f tokens, %.0f tokens/s\n", made, made / watch.seconds());
  if (capacity < start + options.length && static_cast<Index>(ids.size()) == capacity)
    std::fprintf(stderr, "note: the context of %td tokens is full\n", config.max_positions);
}

}  // namespace cli
