#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "pare/kernels/quantized_activations.hpp"

namespace engine {

/// How the input of a layer is quantized, from the layer's object in pare's settings: dynamically,
/// by a fixed scale, or not at all. Throws FormatError.
[[nodiscard]] std::optional<pare::ActivationOptions> read_activations(const nlohmann::json& layer);

/// Puts into a layer's object what read_activations reads.
void write_activations(const std::optional<pare::ActivationOptions>& activations,
                       nlohmann::json& layer);

}  // namespace engine
