#pragma once

#include <nlohmann/json.hpp>

namespace engine {

/// Where the settings of a checkpoint say that its layers are.
enum class StoredLayout {
  codes,   ///< in safetensors, quantized by pare or another tool
  packed,  ///< in files of matrices that kernels read as they are: see PackedLayers
  masked,  ///< in safetensors, float, zeros replaced by masks: see pare/io/masked_tensor.hpp
};

/// Throws FormatError for an unknown layout of pare's, or a later version.
[[nodiscard]] StoredLayout stored_layout(const nlohmann::json& settings);

/// The settings of a checkpoint with masks. They do not name its layers, whose tensors do; that
/// they are there makes other readers refuse the model.
///
///     "quantization_config": {"quant_method": "pare", "version": 1, "layout": "masked"}
[[nodiscard]] nlohmann::json masked_settings();

}  // namespace engine
