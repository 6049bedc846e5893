#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "pare/core/index.hpp"
#include "pare/io/quantization_config.hpp"
#include "pare/version.hpp"

namespace pare {

/// How a GPTQ checkpoint stores zero points.
enum class GptqVersion : std::uint8_t {
  v1,  ///< "gptq": zero - 1, in b bits; 0 cannot be stored safely
  v2   ///< "gptq_v2": zero
};

[[nodiscard]] constexpr std::string_view to_string(GptqVersion v) noexcept {
  return v == GptqVersion::v1 ? "gptq" : "gptq_v2";
}

/// The settings of a GPTQ checkpoint: `quantization_config` in config.json, and the same again as
/// quantize_config.json for older readers.
struct GptqConfig {
  int bits = 4;
  Index group_size = -1;
  bool sym = true;
  GptqVersion version = GptqVersion::v1;
  bool desc_act = false;
  bool static_groups = false;
  bool true_sequential = true;
  double damp_percent = 0.01;

  [[nodiscard]] nlohmann::json to_json() const {
    return {{"bits", bits},
            {"group_size", group_size},
            {"sym", sym},
            {"desc_act", desc_act},
            {"static_groups", static_groups},
            {"true_sequential", true_sequential},
            {"damp_percent", damp_percent},
            {"lm_head", false},
            {"model_file_base_name", "model"},
            {"pack_dtype", "int32"},
            {"quant_method", "gptq"},
            {"method", "gptq"},
            {"checkpoint_format", to_string(version)},
            {"format", to_string(version)},
            {"meta",
             {{"quantizer", nlohmann::json::array({std::string("pare:") + pare::version})},
              {"damp_percent", damp_percent},
              {"static_groups", static_groups},
              {"true_sequential", true_sequential}}}};
  }

  /// Accepts what AutoGPTQ and GPTQModel write. Throws FormatError naming the field for a layout
  /// that is not read here (marlin, gptq_p, settings that differ between layers, ...).
  [[nodiscard]] static GptqConfig from_json(const nlohmann::json& json) {
    detail::require_method(json, "gptq");
    GptqConfig config;
    const auto bits = field_as<int>(json, {"bits", "w_bit"});
    if (!bits) throw FormatError("field \"bits\" is missing");
    if (*bits != 2 && *bits != 3 && *bits != 4 && *bits != 8)
      throw FormatError("field \"bits\" is " + std::to_string(*bits) +
                        ", but 2, 3, 4 or 8 can be read");
    config.bits = *bits;
    config.group_size = field_as<Index>(json, {"group_size", "q_group_size"}).value_or(-1);
    if (config.group_size == 0 || config.group_size < -1)
      throw FormatError("field \"group_size\" is " + std::to_string(config.group_size) +
                        ", neither -1 nor positive");
    config.sym = field_as<bool>(json, {"sym"}).value_or(true);
    config.desc_act = field_as<bool>(json, {"desc_act"}).value_or(false);

    const auto format =
        field_as<std::string>(json, {"checkpoint_format", "format"}).value_or("gptq");
    if (format != "gptq" && format != "gptq_v2")
      throw FormatError("checkpoint_format " + detail::in_quotes(format) +
                        " is not supported; gptq and gptq_v2 are");
    config.version = format == "gptq" ? GptqVersion::v1 : GptqVersion::v2;
    if (field_as<std::string>(json, {"pack_dtype"}).value_or("int32") != "int32")
      throw FormatError("field \"pack_dtype\" is not \"int32\"");
    for (const char* key : {"dynamic", "rotation"})
      if (const auto* field = find_field(json, {key}); field && !field->empty())
        throw FormatError(std::string("field \"") + key + "\" is not supported");

    const nlohmann::json none = nlohmann::json::object();
    const nlohmann::json* meta = find_field(json, {"meta"});
    for (const nlohmann::json* fields : {meta && meta->is_object() ? meta : &none, &json}) {
      config.static_groups =
          field_as<bool>(*fields, {"static_groups"}).value_or(config.static_groups);
      config.true_sequential =
          field_as<bool>(*fields, {"true_sequential"}).value_or(config.true_sequential);
      config.damp_percent =
          field_as<double>(*fields, {"damp_percent"}).value_or(config.damp_percent);
    }
    return config;
  }

  friend bool operator==(const GptqConfig&, const GptqConfig&) = default;
};

}  // namespace pare
