#include "engine/activation_settings.hpp"

#include <string>

#include "pare/core/error.hpp"
#include "pare/formats/scale.hpp"
#include "pare/io/json.hpp"

namespace engine {

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

void write_activations(const std::optional<pare::ActivationOptions>& activations,
                       nlohmann::json& layer) {
  if (!activations) return;
  nlohmann::json& json = layer["activations"] = {{"type", "dynamic"}, {"bits", 8}};
  if (!activations->scale) return;
  json["type"] = "static";
  json["scale"] = *activations->scale;
  json["zero_point"] = activations->zero_point;
}

}  // namespace engine
