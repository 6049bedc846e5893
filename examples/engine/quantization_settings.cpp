#include "engine/quantization_settings.hpp"

#include "engine/activation_settings.hpp"
#include "engine/layer_pattern.hpp"
#include "pare/io/gptq_checkpoint.hpp"
#include "pare/io/gptq_layer_config.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/quantization_config.hpp"

namespace engine {

QuantizationSettings QuantizationSettings::from_json(const nlohmann::json& json) {
  const std::string method = pare::quantization_method(json);
  if (method == "gptq") return pare::GptqConfig::from_json(json);
  if (method == "awq") return pare::AwqConfig::from_json(json);
  if (method == "pare") return QuantizationSettings(pare::pare_layers(json));
  throw pare::FormatError("the model is quantized by " + pare::detail::in_quotes(method) +
                          " (quant_method), which is not supported; pare, gptq and awq are: "
                          "quantize the original model instead");
}

template <class Source>
QuantizedLinear QuantizationSettings::read_from(Source& source, const std::string& name) const {
  if (const auto* gptq = std::get_if<pare::GptqConfig>(&settings_)) {
    std::vector<std::string> notices;
    auto weight = pare::read_gptq_layer(
        source, name, pare::gptq_layer_config(*gptq, name, matches_layer), &notices);
    return {std::move(weight), {}, std::move(notices)};
  }
  if (const auto* awq = std::get_if<pare::AwqConfig>(&settings_))
    return {pare::read_awq_layer(source, name, *awq)};
  return {pare::read_pare_layer(source, name, layer_settings(name)), activations(name)};
}

const nlohmann::json& QuantizationSettings::layer_settings(const std::string& name) const {
  const nlohmann::json* layer = pare::find_field(std::get<nlohmann::json>(settings_), {name});
  if (!layer) throw pare::FormatError("layer " + name + " is missing in quantization_config");
  return *layer;
}

std::optional<pare::ActivationOptions> QuantizationSettings::activations(
    const std::string& name) const {
  if (!std::holds_alternative<nlohmann::json>(settings_)) return std::nullopt;
  return pare::with_context(name, [&] { return read_activations(layer_settings(name)); });
}

QuantizedLinear QuantizationSettings::read(pare::SafetensorsCollection& source,
                                           const std::string& name) const {
  return read_from(source, name);
}

QuantizedLinear QuantizationSettings::read(pare::SafetensorsReader& source,
                                           const std::string& name) const {
  return read_from(source, name);
}

nlohmann::json QuantizationSettings::layer_json(const QuantizedLinear& linear) {
  nlohmann::json json = pare::pare_layer_config(linear.weight);
  write_activations(linear.activations, json);
  return json;
}

}  // namespace engine
