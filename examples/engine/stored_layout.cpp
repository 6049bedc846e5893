#include "engine/stored_layout.hpp"

#include <string>

#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/quantization_config.hpp"

namespace engine {

StoredLayout stored_layout(const nlohmann::json& settings) {
  if (pare::quantization_method(settings) != "pare") return StoredLayout::codes;
  const auto layout = pare::field_as<std::string>(settings, {"layout"});
  if (!layout) return StoredLayout::codes;
  if (*layout == "packed") return StoredLayout::packed;
  if (*layout != "masked")
    throw pare::FormatError("the layout " + pare::detail::in_quotes(*layout) +
                            " is not supported; \"packed\" and \"masked\" are, or none");
  pare::detail::require_pare_version(settings);
  return StoredLayout::masked;
}

nlohmann::json masked_settings() {
  return {{"quant_method", "pare"}, {"version", 1}, {"layout", "masked"}};
}

}  // namespace engine
