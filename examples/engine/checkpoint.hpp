#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/model.hpp"
#include "engine/quantization_settings.hpp"
#include "pare/core/finite.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_collection.hpp"

namespace engine {

/// A Hugging Face directory: config.json and safetensors, float or quantized by pare, GPTQ or AWQ
/// tools. Tensors are read when asked for; `release_pages` gives the mapped memory back.
///
/// Errors    name file, tensor and reason: FormatError for what is missing, misshapen or not
///           supported, NumericError for NaN and infinity
class Checkpoint {
 public:
  explicit Checkpoint(std::filesystem::path directory)
      : directory_(std::move(directory)), json_(open_config()), config_(parse()),
        tensors_(pare::SafetensorsCollection::open(directory_)) {
    quantization_ = pare::with_context((directory_ / "config.json").string(), [&] {
      const auto settings = pare::find_quantization_config(directory_);
      return settings ? std::optional(QuantizationSettings::from_json(*settings)) : std::nullopt;
    });
    for (const char* name : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
      if (tensors_.contains(block_prefix(0) + name))
        fail(block_prefix(0) + name, "normalized queries and keys are not supported");
  }

  [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }
  [[nodiscard]] const nlohmann::json& json() const noexcept { return json_; }
  [[nodiscard]] const ModelConfig& config() const noexcept { return config_; }
  [[nodiscard]] pare::SafetensorsCollection& tensors() const noexcept { return tensors_; }
  /// Nothing for a float checkpoint.
  [[nodiscard]] const std::optional<QuantizationSettings>& quantization() const noexcept {
    return quantization_;
  }
  void release_pages() const { tensors_.drop_pages(); }

  [[nodiscard]] pare::Matrix<float> embedding() const {
    return read_matrix("model.embed_tokens.weight", {config_.vocab_size, config_.hidden_size});
  }

  /// A block whose layers are packed when the checkpoint is quantized, else float32.
  [[nodiscard]] Block block(Index index) const {
    Block block = norms(index);
    for (std::size_t i = 0; i < linear_names.size(); ++i) {
      const auto id = static_cast<LinearId>(i);
      const std::string name = linear_name(index, id);
      Linear& linear = block[id];
      if (auto quantized = quantized_linear(index, id))
        linear = Linear(pare::pack(quantized->weight), quantized->activations);
      else
        linear = Linear(read_matrix(name + ".weight", linear_shape(config_, id)));
      if (tensors_.contains(name + ".bias"))
        linear.set_bias(read_vector(name + ".bias", linear.out_features()));
    }
    return block;
  }

  /// A layer as stored, or nothing when its weight is float.
  [[nodiscard]] std::optional<QuantizedLinear> quantized_linear(Index index, LinearId id) const {
    const std::string name = linear_name(index, id);
    if (!quantization_ || !quantization_->holds(tensors_, name)) return {};
    return pare::with_context(directory_.string(), [&]() -> std::optional<QuantizedLinear> {
      QuantizedLinear linear = quantization_->read(tensors_, name);
      if (const pare::Shape<2> shape{linear.weight.rows(), linear.weight.cols()};
          shape != linear_shape(config_, id))
        throw pare::ShapeError(name + ": the layer has the shape " + pare::to_string(shape) +
                               ", the configuration gives it " +
                               pare::to_string(linear_shape(config_, id)));
      return linear;
    });
  }

  [[nodiscard]] pare::Vector<float> final_norm() const {
    return read_vector("model.norm.weight", config_.hidden_size);
  }

  /// The output layer; nothing when it is tied to the embedding.
  [[nodiscard]] std::optional<Linear> head() const {
    if (config_.tied_embeddings) return {};
    return Linear(read_matrix("lm_head.weight", {config_.vocab_size, config_.hidden_size}));
  }

  [[nodiscard]] Model load() const {
    Model model{config_, std::make_shared<pare::Matrix<float>>(embedding()), {}, final_norm(), {}};
    if (auto output = head()) model.head = std::make_shared<Linear>(std::move(*output));
    for (Index i = 0; i < config_.layers; ++i) model.blocks.push_back(block(i));
    release_pages();
    return model;
  }

 private:
  [[nodiscard]] nlohmann::json open_config() const {
    if (!std::filesystem::is_directory(directory_))
      throw pare::IoError(directory_.string() + ": there is no such directory");
    return pare::read_json(directory_ / "config.json");
  }

  [[nodiscard]] ModelConfig parse() const {
    return pare::with_context((directory_ / "config.json").string(), [&] {
      try {
        return parse_config(json_);
      } catch (const nlohmann::json::exception& e) {
        throw pare::FormatError(std::string("a field has the wrong type: ") + e.what());
      }
    });
  }

  [[noreturn]] void fail(const std::string& tensor, const std::string& why) const {
    throw pare::FormatError(directory_.string() + ": " + tensor + ": " + why);
  }

  template <class F>
  decltype(auto) in_file(const std::string& tensor, F&& f) const {
    return pare::with_context(directory_.string() + ": " + tensor, std::forward<F>(f));
  }

  [[nodiscard]] Block norms(Index index) const {
    Block block;
    block.input_norm =
        read_vector(block_prefix(index) + "input_layernorm.weight", config_.hidden_size);
    block.post_attention_norm =
        read_vector(block_prefix(index) + "post_attention_layernorm.weight", config_.hidden_size);
    return block;
  }

  [[nodiscard]] pare::Matrix<float> read_matrix(const std::string& name,
                                                pare::Shape<2> shape) const {
    auto matrix = pare::with_context(directory_.string(), [&] { return tensors_.read_matrix(name); });
    return in_file(name, [&] {
      if (matrix.shape() != shape)
        throw pare::ShapeError("the tensor has the shape " + pare::to_string(matrix.shape()) +
                               ", the configuration gives it " + pare::to_string(shape));
      pare::require_finite(matrix.view(), "the tensor");
      return std::move(matrix);
    });
  }

  [[nodiscard]] pare::Vector<float> read_vector(const std::string& name, Index size) const {
    auto vector = pare::with_context(directory_.string(), [&] { return tensors_.read_vector(name); });
    return in_file(name, [&] {
      if (vector.size() != size)
        throw pare::ShapeError("the tensor has " + std::to_string(vector.size()) +
                               " elements, the configuration gives it " + std::to_string(size));
      pare::require_finite(pare::MatrixView<const float>(vector.data(), {1, size}), "the tensor");
      return std::move(vector);
    });
  }

  std::filesystem::path directory_;
  nlohmann::json json_;
  ModelConfig config_;
  mutable pare::SafetensorsCollection tensors_;  // maps its shards when they are first read
  std::optional<QuantizationSettings> quantization_;
};

}  // namespace engine
