#include "cli/pipeline/file_layout.hpp"

#include <cstdio>
#include <utility>

#include "engine/stored_layout.hpp"
#include "pare/io/gptq_checkpoint.hpp"
#include "pare/io/pare_checkpoint.hpp"

namespace cli {

std::vector<pare::NamedTensor> FileLayout::tensors(const std::string& layer,
                                                   const pare::AnyQuantizedMatrix& weight) const {
  if (describes_layers()) return pare::pare_tensors(layer, weight);
  const bool gptq = std::holds_alternative<pare::GptqConfig>(config_);
  if (weight.scale_type() != pare::ScaleType::f16)
    throw pare::NumericError(layer + ": a scale overflows F16, which " + (gptq ? "gptq" : "awq") +
                             " files need; use --save-as pare, or skip the layer");
  return gptq ? pare::gptq_tensors(layer, weight) : pare::awq_tensors(layer, weight);
}

engine::QuantizationSettings FileLayout::settings(nlohmann::json layers) const {
  if (const auto* gptq = std::get_if<pare::GptqConfig>(&config_)) return *gptq;
  if (const auto* awq = std::get_if<pare::AwqConfig>(&config_)) return *awq;
  return engine::QuantizationSettings(std::move(layers));
}

nlohmann::json FileLayout::quantization_config(nlohmann::json layers) const {
  if (const auto* gptq = std::get_if<pare::GptqConfig>(&config_)) return gptq->to_json();
  if (const auto* awq = std::get_if<pare::AwqConfig>(&config_)) return awq->to_json();
  if (has_masks()) return engine::masked_settings();
  return pare::pare_config(std::move(layers));
}

pare::DType FileLayout::float_type(pare::DType dtype) const {
  const bool awq = std::holds_alternative<pare::AwqConfig>(config_);
  return awq && dtype == pare::DType::BF16 ? pare::DType::F16 : dtype;
}

void FileLayout::set_float_type(nlohmann::json& config) const {
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (describes_layers() || has_masks() || !config.contains(key) || config[key] != "bfloat16")
      continue;
    if (std::holds_alternative<pare::AwqConfig>(config_)) {
      config[key] = "float16";
      std::fprintf(stderr,
                   "note: %s is float16 now and BF16 tensors are F16: readers of awq files know no "
                   "bfloat16\n",
                   key);
    } else {
      std::fprintf(stderr,
                   "note: %s stays bfloat16 beside F16 scales; older readers of gptq files need "
                   "dtype float16\n",
                   key);
    }
  }
}

}  // namespace cli
