#pragma once

#include <array>
#include <string>
#include <string_view>

#include "pare/io/dtype.hpp"

namespace engine {

/// Whose layer it is that has no float weight: tools store a layer under names of their own. Empty
/// when that is not known. For settings that say it see pare::quantization_method.
///
/// `contains(name)` tells whether the checkpoint holds a tensor.
template <class Contains>
[[nodiscard]] std::string foreign_layer(const std::string& layer, Contains&& contains) {
  struct Sign {
    std::string_view ending, what;
  };
  static constexpr std::array<Sign, 10> signs{{
      {".qweight", "stored as GPTQ or AWQ, but no quantization_config says how"},
      {".codes", "stored by pare, but no quantization_config says how"},
      {".weight_values", "stored by pare with a mask, but no quantization_config says so"},
      {".weight.quant_state.bitsandbytes__nf4", "quantized by bitsandbytes (NF4)"},
      {".weight.quant_state.bitsandbytes__fp4", "quantized by bitsandbytes (FP4)"},
      {".SCB", "quantized by bitsandbytes (INT8)"},
      {".weight_packed", "quantized by compressed-tensors"},
      {".weight_scale_inv", "quantized to FP8"},
      {".W_q", "quantized by HQQ"},
      {".weight_blocks", "quantized to MXFP4"},
  }};
  for (const Sign& sign : signs)
    if (contains(layer + std::string(sign.ending))) return std::string(sign.what);
  return {};
}

[[nodiscard]] inline bool is_float(pare::DType dtype) noexcept {
  return dtype == pare::DType::F32 || dtype == pare::DType::F16 || dtype == pare::DType::BF16 ||
         dtype == pare::DType::F64;
}

}  // namespace engine
