#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/block_tensors.hpp"
#include "engine/model.hpp"
#include "engine/model_files.hpp"
#include "engine/packed_layers.hpp"
#include "engine/quantization_settings.hpp"
#include "pare/io/quantization_config.hpp"
#include "pare/io/safetensors_collection.hpp"

namespace engine {

/// A Hugging Face directory: config.json and safetensors, float or quantized by pare, GPTQ or AWQ
/// tools, with its layers in packed files, or pruned with masks in place of zeros. Shapes are
/// checked at once, tensors are read when asked for; `release_pages` gives the mapped memory back.
/// Where files contradict each other, what is stored is followed and a line on standard error says
/// so.
///
/// Errors    name file, tensor and reason: FormatError for what is missing, misshapen or not
///           supported, NumericError for NaN and infinity
class Checkpoint {
 public:
  /// `access` is how layers are read that are in packed files.
  explicit Checkpoint(std::filesystem::path directory, PackedAccess access = PackedAccess::load);

  [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }
  [[nodiscard]] ModelFiles files() const noexcept { return {directory_, tensors_}; }
  /// config.json, with what was found to be true in place of what the file contradicts.
  [[nodiscard]] const nlohmann::json& json() const noexcept { return json_; }
  [[nodiscard]] const ModelConfig& config() const noexcept { return config_; }
  [[nodiscard]] pare::SafetensorsCollection& tensors() const noexcept { return tensors_; }
  /// See ModelConfig::require_forward; the error names the file.
  void require_forward() const;
  /// Nothing unless the layers are in packed files.
  [[nodiscard]] const std::optional<PackedLayers>& packed() const noexcept { return packed_; }
  /// How the layers are stored: "pare", "gptq", "awq", "pare, packed" or "pare, masked"; empty for
  /// an ordinary float checkpoint.
  [[nodiscard]] std::string quantization() const;
  /// True when layers, which are float, may be stored with masks in place of zeros.
  [[nodiscard]] bool is_masked() const noexcept { return masked_; }
  /// True when this layer is.
  [[nodiscard]] bool has_mask(const std::string& layer) const;
  void release_pages() const { tensors_.drop_pages(); }

  [[nodiscard]] Embedding embedding() const;
  /// A block whose layers are packed when the checkpoint is quantized, else float32.
  [[nodiscard]] Block block(Index index, const pare::Execution& execution = {}) const;
  /// The same with its experts read when they are used, from this checkpoint, which must outlive
  /// it: at most one of them is in memory.
  [[nodiscard]] Block block_without_experts(Index index) const;
  /// True when the codes of a layer, of a block or the output layer, are in the safetensors, for
  /// `quantized_linear` to read.
  [[nodiscard]] bool has_codes(const std::string& layer) const;
  /// Whether a layer's float weight is stored (in_features, out_features).
  [[nodiscard]] bool is_transposed(const std::string& layer) const {
    return layers_.at(layer).transposed;
  }
  /// A layer as stored, or nothing when its weight is float or in a packed file.
  [[nodiscard]] std::optional<QuantizedLinear> quantized_linear(const std::string& layer) const;
  /// How the input of a layer that has codes is quantized, when it is.
  [[nodiscard]] std::optional<pare::ActivationOptions> activations(const std::string& layer) const;
  [[nodiscard]] Norm final_norm() const;
  /// The output layer; nothing when it is tied to the embedding.
  [[nodiscard]] std::optional<Linear> head(const pare::Execution& execution = {}) const;
  [[nodiscard]] Model load(const pare::Execution& execution = {}) const;

 private:
  [[nodiscard]] nlohmann::json open_config() const;
  [[nodiscard]] BlockSource source(const pare::Execution& execution) const;
  void settle_names();
  [[nodiscard]] ModelConfig parse() const;
  [[nodiscard]] std::string embedding_name() const;
  void open_quantization();
  void settle_output_layer();
  [[nodiscard]] bool output_layer_is_embedding() const;
  void warn_of_oddities() const;
  void warn_of_blocks_beyond() const;
  void warn_of_biases() const;
  void refuse_other_norms();
  void require_tensors() const;
  void require_linear(const std::string& name, const pare::Shape<2>& shape, bool transposed) const;
  void require_norm(const std::string& name, Index size) const;
  void require_encoder_tensors() const;
  void require_rows(const std::string& name, Index rows) const;
  [[nodiscard]] bool has_head(const HeadDescription& head) const;
  void read_encoder(Model& model) const;
  [[nodiscard]] Norm read_norm(const std::string& name) const;
  [[nodiscard]] Linear read_linear(const std::string& name) const;
  [[nodiscard]] pare::Matrix<float> read_rows(const std::string& name) const;
  void require_packed_layers() const;
  [[nodiscard]] std::vector<Linear> linears(const std::vector<std::string>& names,
                                            const pare::Execution& execution) const;
  void require_shape(const std::string& name, const std::vector<Index>& shape) const;
  void require_float(const std::string& name, const std::string& layer) const;
  [[nodiscard]] pare::Matrix<float> read_matrix(const std::string& name) const;
  [[nodiscard]] pare::Matrix<float> read_weight(const std::string& layer) const;
  [[nodiscard]] pare::Vector<float> read_vector(const std::string& name) const;

  std::filesystem::path directory_;
  nlohmann::json json_;
  std::optional<pare::FoundQuantization> found_;
  ModelConfig config_;
  struct Layer {
    pare::Shape<2> shape{};
    bool transposed = false;  // stored (in_features, out_features)
  };
  std::map<std::string, Layer, std::less<>> layers_;  // all linear ones
  mutable pare::SafetensorsCollection tensors_;       // maps its shards when they are first read
  PackedAccess access_;
  std::optional<QuantizationSettings> quantization_;  // at most one of the three
  std::optional<PackedLayers> packed_;
  bool masked_ = false;
};

}  // namespace engine
