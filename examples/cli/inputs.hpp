#pragma once

#include <filesystem>
#include <string>

#include "cli/input_paths.hpp"
#include "cli/model_inputs.hpp"
#include "cli/options.hpp"
#include "cli/pipeline/calibration_stream.hpp"
#include "cli/tokens.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// The model that a command runs. Throws ArgumentError for --map when nothing could be mapped.
[[nodiscard]] engine::Checkpoint open_model(const ModelOptions& options);

/// Throws ArgumentError for a model whose zeros are stored as masks: it is written to be run.
void refuse_masks(const engine::Checkpoint& checkpoint);

/// Refuses a quantized model, and one with masks; `instead` ends the line with what would work.
void require_float(const engine::Checkpoint& checkpoint, const std::string& instead);

/// What commands read: a model and texts.
[[nodiscard]] InputPaths input_paths(const ModelOptions& model,
                                     const CalibrationOptions& calibration = {},
                                     const TextOptions& text = {});

/// Tokens per window: as asked, else the model's context up to 512.
/// Throws ArgumentError when it exceeds the context.
[[nodiscard]] Index window_length(const ModelOptions& options, const engine::ModelConfig& config);

/// The text that quality is measured on: --tokens, --text, or eval.txt / eval.npy beside the model.
[[nodiscard]] Tokens evaluation_tokens(const TextOptions& options,
                                       const engine::Checkpoint& checkpoint);

/// The text that a model is trained on: --tokens, --data, or calib.txt / calib.npy beside the
/// model.
[[nodiscard]] Tokens training_tokens(const TrainCommand& options,
                                     const engine::Checkpoint& checkpoint);

/// `option`, else BESIDE.safetensors in the model's directory; empty where that is not there.
[[nodiscard]] std::filesystem::path inputs_file(const std::filesystem::path& option,
                                                const char* beside,
                                                const std::filesystem::path& directory);

/// So many of the inputs as a measurement of speed takes.
[[nodiscard]] engine::ModelInputs speed_inputs(const engine::ModelInputs& inputs);

/// What the quality of an encoder is measured on: --inputs, or eval.safetensors beside the model.
[[nodiscard]] LabelledInputs evaluation_inputs(const TextOptions& options,
                                               const engine::Checkpoint& checkpoint);

/// Calibration windows: of encoders --calib-inputs or calib.safetensors beside the model; else
/// --calib-tokens, --calib, or calib.txt / calib.npy beside the model.
[[nodiscard]] CalibrationWindows calibration_windows(const CalibrationOptions& options,
                                                     const engine::Checkpoint& checkpoint,
                                                     Index length);
/// The same for a run of a recipe: what they are goes to `saved`.
[[nodiscard]] CalibrationWindows calibration_windows(const ModelOptions& model,
                                                     const CalibrationOptions& options,
                                                     const engine::Checkpoint& checkpoint,
                                                     RecipeFile& saved);

}  // namespace cli
