#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/io/awq_checkpoint.hpp"
#include "pare/io/gptq_config.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace engine {

/// A quantized layer as a checkpoint stores it.
struct QuantizedLinear {
  pare::AnyQuantizedMatrix weight;
  /// Set when the layer's input is quantized to 8 bits too.
  std::optional<pare::ActivationOptions> activations{};
  /// What had to be assumed to read it.
  std::vector<std::string> notices{};
};

/// How the layers of a quantized checkpoint are stored in its safetensors: by pare, GPTQ or AWQ
/// tools. For packed files see PackedLayers.
class QuantizationSettings {
 public:
  QuantizationSettings(pare::GptqConfig config) : settings_(std::move(config)) {}
  QuantizationSettings(pare::AwqConfig config) : settings_(std::move(config)) {}
  /// Layers by name, as pare::pare_layers gives them.
  explicit QuantizationSettings(nlohmann::json pare_layers) : settings_(std::move(pare_layers)) {}

  /// Throws FormatError for settings that cannot be read.
  [[nodiscard]] static QuantizationSettings from_json(const nlohmann::json& json);

  [[nodiscard]] const char* method() const {
    return settings_.index() == 0 ? "gptq" : settings_.index() == 1 ? "awq" : "pare";
  }

  /// True when the layer is stored quantized.
  template <class Source>
  [[nodiscard]] bool holds(Source& source, const std::string& name) const {
    return source.contains(name + (settings_.index() == 2 ? ".codes" : ".qweight"));
  }

  /// Reads a layer; FormatError names it.
  [[nodiscard]] QuantizedLinear read(pare::SafetensorsCollection& source,
                                     const std::string& name) const;
  [[nodiscard]] QuantizedLinear read(pare::SafetensorsReader& source,
                                     const std::string& name) const;
  /// How a layer's input is quantized, when it is.
  [[nodiscard]] std::optional<pare::ActivationOptions> activations(const std::string& name) const;

  /// A layer's object in pare's settings.
  [[nodiscard]] static nlohmann::json layer_json(const QuantizedLinear& linear);

 private:
  template <class Source>
  [[nodiscard]] QuantizedLinear read_from(Source& source, const std::string& name) const;
  [[nodiscard]] const nlohmann::json& layer_settings(const std::string& name) const;

  std::variant<pare::GptqConfig, pare::AwqConfig, nlohmann::json> settings_;
};

}  // namespace engine
