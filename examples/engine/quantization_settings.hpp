#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/io/awq_checkpoint.hpp"
#include "pare/io/gptq_checkpoint.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/quantization_config.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace engine {

/// A quantized layer as a checkpoint stores it.
struct QuantizedLinear {
  pare::AnyQuantizedMatrix weight;
  /// Set when the layer's input is quantized to 8 bits too.
  std::optional<pare::ActivationOptions> activations{};
};

/// How the layers of a quantized checkpoint are stored: by pare, GPTQ or AWQ tools.
class QuantizationSettings {
 public:
  QuantizationSettings(pare::GptqConfig config) : settings_(std::move(config)) {}
  QuantizationSettings(pare::AwqConfig config) : settings_(std::move(config)) {}
  /// Layers by name, as pare::pare_layers gives them.
  explicit QuantizationSettings(nlohmann::json pare_layers) : settings_(std::move(pare_layers)) {}

  /// Throws FormatError for settings that cannot be read.
  [[nodiscard]] static QuantizationSettings from_json(const nlohmann::json& json) {
    const std::string method = pare::quantization_method(json);
    if (method == "gptq") return pare::GptqConfig::from_json(json);
    if (method == "awq") return pare::AwqConfig::from_json(json);
    if (method == "pare") return QuantizationSettings(pare::pare_layers(json));
    throw pare::FormatError("quant_method \"" + method + "\" is not supported; pare, gptq and awq are");
  }

  [[nodiscard]] const char* method() const {
    return settings_.index() == 0 ? "gptq" : settings_.index() == 1 ? "awq" : "pare";
  }

  /// True when the layer is stored quantized.
  template <class Source>
  [[nodiscard]] bool holds(Source& source, const std::string& name) const {
    return source.contains(name + (settings_.index() == 2 ? ".codes" : ".qweight"));
  }

  template <class Source>
  [[nodiscard]] QuantizedLinear read(Source& source, const std::string& name) const {
    if (const auto* gptq = std::get_if<pare::GptqConfig>(&settings_))
      return {pare::read_gptq_layer(source, name, *gptq)};
    if (const auto* awq = std::get_if<pare::AwqConfig>(&settings_))
      return {pare::read_awq_layer(source, name, *awq)};
    const auto& layers = std::get<nlohmann::json>(settings_);
    const nlohmann::json* layer = pare::find_field(layers, {name});
    if (!layer) throw pare::FormatError("layer " + name + " is missing in quantization_config");
    return {pare::read_pare_layer(source, name, *layer),
            pare::with_context(name, [&] { return read_activations(*layer); })};
  }

  /// A layer's object in pare's settings.
  [[nodiscard]] static nlohmann::json layer_json(const QuantizedLinear& linear) {
    nlohmann::json json = pare::pare_layer_config(linear.weight);
    if (!linear.activations) return json;
    auto& activations = json["activations"] = {{"type", "dynamic"}, {"bits", 8}};
    if (linear.activations->scale) {
      activations["type"] = "static";
      activations["scale"] = *linear.activations->scale;
      activations["zero_point"] = linear.activations->zero_point;
    }
    return json;
  }

 private:
  [[nodiscard]] static std::optional<pare::ActivationOptions> read_activations(
      const nlohmann::json& layer) {
    const nlohmann::json* json = pare::find_field(layer, {"activations"});
    if (!json) return {};
    const auto type = pare::field_as<std::string>(*json, {"type"}).value_or("");
    if (type == "dynamic") return pare::ActivationOptions{};
    const auto scale = pare::field_as<double>(*json, {"scale"});
    if (type != "static" || !scale || !pare::is_usable_scale(static_cast<float>(*scale)))
      throw pare::FormatError("the activations are neither dynamic nor static with a scale");
    return pare::ActivationOptions{
        .scale = static_cast<float>(*scale),
        .zero_point = pare::field_as<int>(*json, {"zero_point"}).value_or(0)};
  }

  std::variant<pare::GptqConfig, pare::AwqConfig, nlohmann::json> settings_;
};

}  // namespace engine
