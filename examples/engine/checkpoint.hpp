#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/model.hpp"
#include "engine/quantization_settings.hpp"
#include "pare/io/safetensors_collection.hpp"

namespace engine {

/// A Hugging Face directory: config.json and safetensors, float or quantized by pare, GPTQ or AWQ
/// tools. Shapes are checked at once, tensors are read when asked for; `release_pages` gives the
/// mapped memory back.
///
/// Errors    name file, tensor and reason: FormatError for what is missing, misshapen or not
///           supported, NumericError for NaN and infinity
class Checkpoint {
 public:
  explicit Checkpoint(std::filesystem::path directory);

  [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }
  [[nodiscard]] const nlohmann::json& json() const noexcept { return json_; }
  [[nodiscard]] const ModelConfig& config() const noexcept { return config_; }
  [[nodiscard]] pare::SafetensorsCollection& tensors() const noexcept { return tensors_; }
  /// Nothing for a float checkpoint.
  [[nodiscard]] const std::optional<QuantizationSettings>& quantization() const noexcept {
    return quantization_;
  }
  void release_pages() const { tensors_.drop_pages(); }

  [[nodiscard]] pare::Matrix<float> embedding() const;
  /// A block whose layers are packed when the checkpoint is quantized, else float32.
  [[nodiscard]] Block block(Index index) const;
  /// A layer as stored, or nothing when its weight is float.
  [[nodiscard]] std::optional<QuantizedLinear> quantized_linear(Index index, LinearId id) const;
  [[nodiscard]] pare::Vector<float> final_norm() const;
  /// The output layer; nothing when it is tied to the embedding.
  [[nodiscard]] std::optional<Linear> head() const;
  [[nodiscard]] Model load() const;

 private:
  [[nodiscard]] nlohmann::json open_config() const;
  [[nodiscard]] ModelConfig parse() const;
  void require_tensors() const;
  void require_shape(const std::string& name, const std::vector<Index>& shape) const;
  [[nodiscard]] pare::Matrix<float> read_matrix(const std::string& name) const;
  [[nodiscard]] pare::Vector<float> read_vector(const std::string& name) const;

  std::filesystem::path directory_;
  nlohmann::json json_;
  ModelConfig config_;
  mutable pare::SafetensorsCollection tensors_;  // maps its shards when they are first read
  std::optional<QuantizationSettings> quantization_;
};

}  // namespace engine
