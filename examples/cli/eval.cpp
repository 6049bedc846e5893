#include <cstdio>
#include <optional>

#include "cli/encoder_evaluation.hpp"
#include "cli/evaluation.hpp"
#include "cli/inputs.hpp"
#include "cli/options.hpp"
#include "cli/report.hpp"
#include "cli/speed.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace cli {
namespace {

/// `input_ids` I32 (1, tokens) and `logits` F32 (tokens, vocabulary) of the first window: what
/// another engine must compute from the same model.
void write_logits(const std::filesystem::path& path, const engine::Model& model,
                  const EvaluationWindows& windows, const pare::Execution& execution) {
  const auto ids = windows.inputs(0, 1);
  const auto logits = engine::Decoder(model, execution).logits(ids, windows.length());
  pare::SafetensorsWriter writer(path,
                                 {{"input_ids", pare::DType::I32, {1, windows.length()}},
                                  {"logits", pare::DType::F32, {logits.rows(), logits.cols()}}},
                                 {{answers_key, "eval"}});
  writer.write("input_ids", std::as_bytes(ids));
  writer.write("logits",
               std::as_bytes(std::span(logits.data(), static_cast<std::size_t>(logits.size()))));
  writer.finish();
}

}  // namespace

namespace {

/// The model to compare with, if one is given. Throws ArgumentError where it is another kind.
std::optional<engine::Model> load_reference(const EvalCommand& options,
                                            const engine::ModelConfig& config,
                                            const pare::Execution& execution) {
  if (options.reference.empty()) return std::nullopt;
  const engine::Checkpoint other(options.reference);
  other.require_forward();
  if (other.config().vocab_size != config.vocab_size)
    throw pare::ArgumentError(options.reference.string() + " has another vocabulary than " +
                              options.model.model.string());
  if (other.config().encoder.has_value() != config.encoder.has_value())
    throw pare::ArgumentError(options.reference.string() + " is another kind of model than " +
                              options.model.model.string());
  return other.load(execution);
}

void eval_encoder(const EvalCommand& options, const engine::Checkpoint& checkpoint,
                  Runtime& runtime) {
  if (!options.logits.empty())
    throw pare::ArgumentError("--logits is of decoders; pare logits writes an encoder's answers");
  const LabelledInputs inputs = evaluation_inputs(options.text, checkpoint);
  const engine::Model model = checkpoint.load(runtime.execution());
  const auto reference = load_reference(options, checkpoint.config(), runtime.execution());
  const EncoderQuality quality =
      EncoderEvaluator(inputs, reference ? &*reference : nullptr, runtime.execution())
          .measure(model);
  nlohmann::json json{{"inputs", quality.inputs}};
  std::printf("inputs          %td\n", quality.inputs);
  if (quality.accuracy) {
    json["accuracy"] = *quality.accuracy;
    std::printf("accuracy        %.4f %%\n", 100.0 * *quality.accuracy);
  }
  if (quality.kl) {
    json["kl"] = *quality.kl;
    json["top1"] = *quality.top1;
    std::printf("KL divergence   %.8f nats per prediction, to %s\n", *quality.kl,
                options.reference.string().c_str());
    std::printf("top-1 agreement %.4f %%\n", 100.0 * *quality.top1);
  }
  if (quality.cosine) {
    json["cosine"] = *quality.cosine;
    std::printf("cosine          %.6f, to %s\n", *quality.cosine,
                options.reference.string().c_str());
  }
  if (!quality.accuracy && !quality.kl && !quality.cosine)
    std::fprintf(stderr,
                 "note: nothing to compare with: the inputs have no labels, and there is no "
                 "--reference\n");
  if (options.speed) {
    const Speed speed = measure_encoder_speed(model, speed_inputs(inputs.inputs), runtime);
    add_speed(json, speed);
    std::printf("speed           %.0f tokens/s, %.0f %% of the peak\n",
                speed.prefill_tokens_per_second, 100.0 * speed.prefill_share);
  }
  if (!options.report.empty()) pare::write_json(options.report, json);
}

}  // namespace

void eval(const EvalCommand& options) {
  Runtime runtime = options.model.runtime();
  InputPaths inputs = input_paths(options.model, {}, options.text);
  inputs.add_model(options.reference);
  require_report_path("--report", options.report, {".json"}, inputs);
  require_report_path("--logits", options.logits, {".safetensors"}, inputs);
  const engine::Checkpoint checkpoint = open_model(options.model);
  checkpoint.require_forward();
  if (checkpoint.config().encoder) return eval_encoder(options, checkpoint, runtime);
  if (!options.text.inputs.empty())
    throw pare::ArgumentError("--inputs is of encoders; decoders read --text or --tokens");
  const Index length = window_length(options.model, checkpoint.config());
  const Tokens tokens = evaluation_tokens(options.text, checkpoint);
  const EvaluationWindows windows(tokens, length);
  const engine::Model model = checkpoint.load(runtime.execution());

  const auto reference = load_reference(options, checkpoint.config(), runtime.execution());
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
