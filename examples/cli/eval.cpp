#include <cstdio>
#include <optional>

#include "cli/evaluation.hpp"
#include "cli/inputs.hpp"
#include "cli/options.hpp"
#include "cli/report.hpp"
#include "cli/speed.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace cli {
namespace {

/// `ids` I32 (tokens) and `logits` F32 (tokens, vocabulary) of the first window: what another
/// engine must compute from the same model.
void write_logits(const std::filesystem::path& path, const engine::Model& model,
                  const EvaluationWindows& windows, const pare::Execution& execution) {
  const auto ids = windows.inputs(0, 1);
  const auto logits = engine::Decoder(model, execution).logits(ids, windows.length());
  pare::SafetensorsWriter writer(path,
                                 {{"ids", pare::DType::I32, {windows.length()}},
                                  {"logits", pare::DType::F32, {logits.rows(), logits.cols()}}});
  writer.write("ids", std::as_bytes(ids));
  writer.write("logits",
               std::as_bytes(std::span(logits.data(), static_cast<std::size_t>(logits.size()))));
  writer.finish();
}

}  // namespace

void eval(const EvalCommand& options) {
  Runtime runtime = options.model.runtime();
  InputPaths inputs = input_paths(options.model, {}, options.text);
  inputs.add_model(options.reference);
  require_report_path("--report", options.report, {".json"}, inputs);
  require_report_path("--logits", options.logits, {".safetensors"}, inputs);
  const engine::Checkpoint checkpoint = open_model(options.model);
  const Index length = window_length(options.model, checkpoint.config());
  checkpoint.require_forward();
  const Tokens tokens = evaluation_tokens(options.text, checkpoint);
  const EvaluationWindows windows(tokens, length);
  const engine::Model model = checkpoint.load(runtime.execution());

  std::optional<engine::Model> reference;
  if (!options.reference.empty()) {
    const engine::Checkpoint other(options.reference);
    other.require_forward();
    reference = other.load(runtime.execution());
    if (reference->config.vocab_size != model.config.vocab_size)
      throw pare::ArgumentError(options.reference.string() + " has another vocabulary than " +
                                options.model.model.string());
  }
  const Quality quality =
      Evaluator(windows, reference ? &*reference : nullptr, runtime.execution()).measure(model);
  std::optional<Speed> speed;
  if (options.speed) speed = measure_speed(model, windows.inputs(0, 1), runtime);

  const auto bits = quality.bits_per_byte(tokens);
  nlohmann::json json{{"predictions", quality.predictions},
                      {"nats_per_token", quality.nats_per_token},
                      {"perplexity", quality.perplexity()},
                      {"bits_per_byte", nullptr}};
  std::printf("predictions     %td\n", quality.predictions);
  if (bits) {
    json["bits_per_byte"] = *bits;
    std::printf("bits per byte   %.6f\n", *bits);
  }
  std::printf("perplexity      %.6f\n", quality.perplexity());
  if (quality.kl) {
    json["kl"] = *quality.kl;
    json["top1"] = *quality.top1;
    std::printf("KL divergence   %.8f nats per token, to %s\n", *quality.kl,
                options.reference.string().c_str());
    std::printf("top-1 agreement %.4f %%\n", 100.0 * *quality.top1);
  }
  if (speed) {
    add_speed(json, *speed);
    std::printf("prefill         %.0f tokens/s, %.0f %% of the peak\n",
                speed->prefill_tokens_per_second, 100.0 * speed->prefill_share);
    std::printf("decode          %.0f tokens/s, %.0f %% of the read bandwidth\n",
                speed->decode_tokens_per_second, 100.0 * speed->decode_share);
  }
  if (!options.report.empty()) pare::write_json(options.report, json);
  if (!options.logits.empty()) write_logits(options.logits, model, windows, runtime.execution());
}

}  // namespace cli
