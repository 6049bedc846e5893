#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "cli/inputs.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"
#include "cli/speed.hpp"
#include "pare/core/random.hpp"

namespace cli {
namespace {

const char* how_loaded(const engine::Checkpoint& checkpoint, bool map) {
  if (checkpoint.packed())
    return map ? "packed files mapped" : "packed files copied into huge pages";
  return checkpoint.is_masked() || checkpoint.quantization().empty() ? "float32" : "codes packed";
}

}  // namespace

void bench(const BenchCommand& options) {
  for (const auto& [option, value] :
       {std::pair{"--prompt", options.prompt.value_or(1)}, {"--tokens", options.tokens}})
    if (value < 1)
      throw pare::ArgumentError(std::string(option) + " " + std::to_string(value) +
                                " is not positive");
  Runtime runtime = options.model.runtime();
  const Stopwatch loading;
  const engine::Checkpoint checkpoint = open_model(options.model);
  const engine::ModelConfig& config = checkpoint.config();
  if (config.encoder)
    throw pare::ArgumentError(options.model.model.string() + " is an encoder (" + config.family +
                              "); pare eval and pare compare measure its speed");
  const Index length = options.prompt.value_or(
      std::max<Index>(1, std::min<Index>(512, config.max_positions - options.tokens)));
  if (length + options.tokens > config.max_positions)
    throw pare::ArgumentError("--prompt and --tokens exceed the model's context of " +
                              std::to_string(config.max_positions));
  checkpoint.require_forward();
  const engine::Model model = checkpoint.load(runtime.execution());
  const double load_seconds = loading.seconds();
  std::vector<std::int32_t> prompt(static_cast<std::size_t>(length));
  pare::Random random(1);
  for (auto& id : prompt)
    id = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(config.vocab_size)));

  const Speed speed = measure_speed(model, prompt, runtime,
                                    {.tokens = options.tokens, .prefills = 7, .seconds = 20.0});
  const engine::Linear& layer = model.blocks[0].linears[0];
  std::printf("loading: %.2f s, %s\n", load_seconds, how_loaded(checkpoint, options.model.map));
  std::printf("prefill of %td tokens, %d thread%s: %s\n", length, runtime.threads(),
              runtime.threads() == 1 ? "" : "s",
              layer.describe(length, runtime.execution()).c_str());
  std::printf("  %.1f tokens/s, %.1f %% of the peak of %.0f Gop/s\n",
              speed.prefill_tokens_per_second, 100.0 * speed.prefill_share,
              1e-9 * speed.prefill_operations_per_second);
  std::printf("decode: %s\n", layer.describe(1, runtime.execution()).c_str());
  std::printf("  %.1f tokens/s, %.1f MB per token, %.1f %% of the %.1f GB/s that reading takes\n",
              speed.decode_tokens_per_second, 1e-6 * speed.decode_bytes, 100.0 * speed.decode_share,
              1e-9 * speed.bytes_per_second);
}

}  // namespace cli
