#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/quantization_settings.hpp"
#include "pare/io/awq_checkpoint.hpp"
#include "pare/io/dtype.hpp"
#include "pare/io/gptq_config.hpp"
#include "pare/io/layer_tensors.hpp"

namespace cli {

/// How quantized layers lie in safetensors and what config.json says of them: pare's own way, or
/// that of readers of GPTQ or AWQ files, which know one set of settings for all layers.
class FileLayout {
 public:
  FileLayout() = default;
  /// Of models that stay float: no layer is quantized, config.json says nothing new.
  [[nodiscard]] static FileLayout of_float_model() {
    FileLayout layout;
    layout.config_ = Float{};
    return layout;
  }
  /// Of float models with masks in place of zeros where that is smaller, for pare alone.
  [[nodiscard]] static FileLayout of_masked_model() {
    FileLayout layout;
    layout.config_ = Masked{};
    return layout;
  }
  explicit FileLayout(pare::GptqConfig config) : config_(std::move(config)) {}
  explicit FileLayout(pare::AwqConfig config) : config_(std::move(config)) {}

  [[nodiscard]] bool is_float() const { return std::holds_alternative<Float>(config_); }
  [[nodiscard]] bool has_masks() const { return std::holds_alternative<Masked>(config_); }
  /// True for pare's own files of quantized models, whose shards say how each of their layers is
  /// stored.
  [[nodiscard]] bool describes_layers() const { return config_.index() == 0; }
  /// Settings are also written as quantize_config.json, which older readers of GPTQ files want.
  [[nodiscard]] bool has_settings_file() const { return config_.index() == 1; }

  /// Throws NumericError when the layout knows only F16 scales and they are others.
  [[nodiscard]] std::vector<pare::NamedTensor> tensors(
      const std::string& layer, const pare::AnyQuantizedMatrix& weight) const;
  /// How to read layers back; `layers` is what shards say of theirs.
  [[nodiscard]] engine::QuantizationSettings settings(nlohmann::json layers) const;
  /// The field "quantization_config" of config.json.
  [[nodiscard]] nlohmann::json quantization_config(nlohmann::json layers) const;
  /// The type in which float tensors are stored that the checkpoint has in `dtype`: readers of AWQ
  /// files know no BF16.
  [[nodiscard]] pare::DType float_type(pare::DType dtype) const;
  /// Readers take the type of activations from config.json, and it must suit F16 scales: changes it
  /// or prints a note.
  void set_float_type(nlohmann::json& config) const;

 private:
  struct Float {};
  struct Masked {};
  std::variant<std::monostate, pare::GptqConfig, pare::AwqConfig, Float, Masked> config_;
};

}  // namespace cli
