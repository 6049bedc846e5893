#include "cli/inputs.hpp"

#include <algorithm>

#include "cli/tokenizer.hpp"

namespace cli {
namespace {

using std::filesystem::path;

/// A typing error rather than a machine.
constexpr int most_threads = 1024;

/// Tokens of the first source given: a token file, a text file, or a default beside the model.
/// Any byte-level model falls back on the demo model's text.
Tokens read_tokens(const path& tokens, const path& text, const char* beside,
                   const std::string& missing, const engine::Checkpoint& checkpoint) {
  const auto from_text = [&](const path& file) {
    const std::string content = read_text_file(file);
    return Tokenizer(checkpoint.directory(), checkpoint.config()).encode(content);
  };
  const Index vocab = checkpoint.config().vocab_size;
  if (!tokens.empty()) return read_token_file(tokens, vocab);
  if (!text.empty()) return from_text(text);
  const path base = checkpoint.directory() / beside;
  if (const path file = path(base) += ".txt"; std::filesystem::exists(file)) return from_text(file);
  if (const path file = path(base) += ".npy"; std::filesystem::exists(file))
    return read_token_file(file, vocab);
  if (checkpoint.config().is_byte_level())
    return from_text(path(PARE_DEMO_MODEL_DIR) / (std::string(beside) + ".txt"));
  throw pare::ArgumentError(missing);
}

}  // namespace

Runtime ModelOptions::runtime() const {
  if (threads && *threads < 1)
    throw pare::ArgumentError("--threads " + std::to_string(*threads) + " is not positive");
  if (threads && *threads > most_threads)
    throw pare::ArgumentError("--threads " + std::to_string(*threads) + " is more than " +
                              std::to_string(most_threads));
  return Runtime(threads.value_or(0));
}

void refuse_masks(const engine::Checkpoint& checkpoint) {
  if (checkpoint.is_masked())
    throw pare::ArgumentError(checkpoint.directory().string() +
                              " is pruned and stored with masks, to be run; what goes on is what "
                              "pare prune writes without --save-as pare");
}

void require_float(const engine::Checkpoint& checkpoint, const std::string& instead) {
  refuse_masks(checkpoint);
  if (const std::string by = checkpoint.quantization(); !by.empty())
    throw pare::ArgumentError(checkpoint.directory().string() + " is quantized already (by " + by +
                              ")" + instead);
}

engine::Checkpoint open_model(const ModelOptions& options) {
  using engine::PackedAccess;
  engine::Checkpoint checkpoint(options.model,
                                options.map ? PackedAccess::map : PackedAccess::load);
  if (options.map && !checkpoint.packed())
    throw pare::ArgumentError("--map has no effect here: " + options.model.string() +
                              " has no packed files, which pare pack makes");
  return checkpoint;
}

InputPaths input_paths(const ModelOptions& model, const CalibrationOptions& calibration,
                       const TextOptions& text) {
  InputPaths paths;
  paths.add_model(model.model);
  for (const path& file : {calibration.text, calibration.tokens, calibration.inputs, text.text,
                           text.tokens, text.inputs})
    paths.add_file(file);
  return paths;
}

Index window_length(const ModelOptions& options, const engine::ModelConfig& config) {
  if (options.window == 0) return std::min<Index>(config.max_positions, 512);
  if (options.window < 1 || options.window > config.max_positions)
    throw pare::ArgumentError("--window " + std::to_string(options.window) +
                              " is not between 1 and the model's context of " +
                              std::to_string(config.max_positions));
  return options.window;
}

path inputs_file(const path& option, const char* beside, const path& directory) {
  if (!option.empty()) return option;
  const path file = (path(directory) / beside) += ".safetensors";
  return std::filesystem::exists(file) ? file : path();
}

engine::ModelInputs speed_inputs(const engine::ModelInputs& inputs) {
  constexpr Index most = 32;
  return inputs.slice(0, std::min(most, inputs.count()));
}

LabelledInputs evaluation_inputs(const TextOptions& options, const engine::Checkpoint& checkpoint) {
  if (!options.text.empty() || !options.tokens.empty())
    throw pare::ArgumentError("--text and --tokens are of decoders; encoders read --inputs");
  const path file = inputs_file(options.inputs, "eval", checkpoint.directory());
  if (file.empty())
    throw pare::ArgumentError(
        "nothing to evaluate on: give --inputs FILE (there is no eval.safetensors beside the "
        "model)");
  return read_model_inputs(file, checkpoint.config());
}

Tokens evaluation_tokens(const TextOptions& options, const engine::Checkpoint& checkpoint) {
  return read_tokens(options.tokens, options.text, "eval",
                     "no text to evaluate on: give --text FILE or --tokens FILE (there is no "
                     "eval.txt beside the model)",
                     checkpoint);
}

Tokens training_tokens(const TrainCommand& options, const engine::Checkpoint& checkpoint) {
  return read_tokens(options.tokens, options.data, "calib",
                     "no text to train on: give --data FILE or --tokens FILE (there is no "
                     "calib.txt beside the model)",
                     checkpoint);
}

CalibrationWindows calibration_windows(const CalibrationOptions& options,
                                       const engine::Checkpoint& checkpoint, Index length) {
  if (options.windows < 0)
    throw pare::ArgumentError("--calib-windows " + std::to_string(options.windows) +
                              " is negative");
  if (options.stride < 1)
    throw pare::ArgumentError("--calib-stride " + std::to_string(options.stride) +
                              " is not positive: 4 takes every fourth window");
  checkpoint.require_forward();
  const auto& encoder = checkpoint.config().encoder;
  const bool is_text = !options.text.empty() || !options.tokens.empty();
  if (!encoder && !options.inputs.empty())
    throw pare::ArgumentError(
        "--calib-inputs is of encoders; decoders read --calib or "
        "--calib-tokens");
  if (encoder && encoder->image && is_text)
    throw pare::ArgumentError(
        "--calib and --calib-tokens are texts, and the model reads images: "
        "give --calib-inputs");
  if (encoder && !is_text) {
    if (const path file = inputs_file(options.inputs, "calib", checkpoint.directory());
        !file.empty())
      return {read_model_inputs(file, checkpoint.config()).inputs, options.windows};
    if (encoder->image)
      throw pare::ArgumentError(
          "no images to calibrate on: give --calib-inputs FILE (there is no calib.safetensors "
          "beside the model)");
  }
  const Tokens tokens =
      read_tokens(options.tokens, options.text, "calib",
                  "no calibration text: give --calib FILE or --calib-tokens FILE (there is no "
                  "calib.txt beside the model)",
                  checkpoint);
  return {tokens.ids, length, options.windows, options.stride};
}

CalibrationWindows calibration_windows(const ModelOptions& model, const CalibrationOptions& options,
                                       const engine::Checkpoint& checkpoint, RecipeFile& saved) {
  const Index length = window_length(model, checkpoint.config());
  saved.window = length;
  saved.windows = options.windows;
  saved.stride = options.stride;
  return calibration_windows(options, checkpoint, length);
}

}  // namespace cli
