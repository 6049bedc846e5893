#pragma once

#include "cli/input_paths.hpp"
#include "cli/options.hpp"
#include "cli/pipeline/calibration_stream.hpp"
#include "cli/tokens.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// The model that a command runs. Throws ArgumentError for --map when nothing could be mapped.
[[nodiscard]] engine::Checkpoint open_model(const ModelOptions& options);

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

/// Calibration windows: --calib-tokens, --calib, or calib.txt / calib.npy beside the model.
[[nodiscard]] CalibrationWindows calibration_windows(const CalibrationOptions& options,
                                                     const engine::Checkpoint& checkpoint,
                                                     Index length);

}  // namespace cli
