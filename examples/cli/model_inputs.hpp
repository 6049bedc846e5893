#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/config.hpp"
#include "engine/model_inputs.hpp"
#include "pare/io/safetensors_reader.hpp"

namespace cli {

using pare::Index;

/// Inputs of a model with what each of them is, if that is known.
struct LabelledInputs {
  engine::ModelInputs inputs;
  std::vector<std::int64_t> labels{};  ///< one for each sequence, or none
};

/// From a safetensors file, named and shaped as transformers does: `input_ids` (sequences, length)
/// and, if they are there, `attention_mask` and `token_type_ids` of the same shape; or
/// `pixel_values` (images, channels, height, width); `labels` (sequences). Integers of any width.
///
/// Errors    IoError and FormatError naming file and tensor, ArgumentError for inputs that the
/// model
///           does not take
[[nodiscard]] LabelledInputs read_model_inputs(const std::filesystem::path& path,
                                               const engine::ModelConfig& config);

/// A tensor of integers of any width.
[[nodiscard]] std::vector<std::int64_t> read_integers(const pare::SafetensorsReader& file,
                                                      const char* name);

}  // namespace cli
