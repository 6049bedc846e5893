#include "engine/quantization_settings.hpp"

#include "pare/io/gptq_checkpoint.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/quantization_config.hpp"

namespace engine {
namespace {

std::optional<pare::ActivationOptions> read_activations(const nlohmann::json& layer) {
  const nlohmann::json* json = pare::find_field(layer, {"activations"});
  if (!json) return std::nullopt;
  const auto type = pare::field_as<std::string>(*json, {"type"}).value_or("");
  pare::ActivationOptions options;
  if (type == "dynamic") return options;
  const auto scale = pare::field_as<double>(*json, {"scale"});
  if (type != "static" || !scale || !pare::is_usable_scale(static_cast<float>(*scale)))
    throw pare::FormatError("the activations are neither dynamic nor static with a scale");
  options.scale = static_cast<float>(*scale);
  options.zero_point = pare::field_as<int>(*json, {"zero_point"}).value_or(0);
  if (options.zero_point < -128 || options.zero_point > 127)
    throw pare::FormatError("the zero point of the activations is outside [-128, 127]");
  return options;
}

}  // namespace

QuantizationSettings QuantizationSettings::from_json(const nlohmann::json& json) {
  const std::string method = pare::quantization_method(json);
  if (method == "gptq") return pare::GptqConfig::from_json(json);
  if (method == "awq") return pare::AwqConfig::from_json(json);
  if (method == "pare") return QuantizationSettings(pare::pare_layers(json));
  throw pare::FormatError("quant_method \"" + method +
                          "\" is not supported; pare, gptq and awq are");
}

template <class Source>
QuantizedLinear QuantizationSettings::read_from(Source& source, const std::string& name) const {
  if (const auto* gptq = std::get_if<pare::GptqConfig>(&settings_))
    return {pare::read_gptq_layer(source, name, *gptq)};
  if (const auto* awq = std::get_if<pare::AwqConfig>(&settings_))
    return {pare::read_awq_layer(source, name, *awq)};
  const nlohmann::json* layer = pare::find_field(std::get<nlohmann::json>(settings_), {name});
  if (!layer) throw pare::FormatError("layer " + name + " is missing in quantization_config");
  return {pare::read_pare_layer(source, name, *layer),
          pare::with_context(name, [&] { return read_activations(*layer); })};
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
  if (!linear.activations) return json;
  nlohmann::json& activations = json["activations"] = {{"type", "dynamic"}, {"bits", 8}};
  if (linear.activations->scale) {
    activations["type"] = "static";
    activations["scale"] = *linear.activations->scale;
    activations["zero_point"] = linear.activations->zero_point;
  }
  return json;
}

}  // namespace engine
