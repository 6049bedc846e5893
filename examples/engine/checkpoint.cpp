#include "engine/checkpoint.hpp"

#include <memory>
#include <utility>

#include "pare/core/finite.hpp"
#include "pare/io/json.hpp"
#include "pare/io/quantization_config.hpp"

namespace engine {

Checkpoint::Checkpoint(std::filesystem::path directory)
    : directory_(std::move(directory)),
      json_(open_config()),
      config_(parse()),
      tensors_(pare::SafetensorsCollection::open(directory_)) {
  quantization_ = pare::with_context((directory_ / "config.json").string(), [&] {
    const auto settings = pare::find_quantization_config(directory_);
    return settings ? std::optional(QuantizationSettings::from_json(*settings)) : std::nullopt;
  });
  require_tensors();
}

/// Before anything is computed or allocated: every tensor is there and has the shape that the
/// configuration gives it.
void Checkpoint::require_tensors() const {
  const Index hidden = config_.hidden_size, vocab = config_.vocab_size;
  require_shape("model.embed_tokens.weight", {vocab, hidden});
  require_shape("model.norm.weight", {hidden});
  if (!config_.tied_embeddings) require_shape("lm_head.weight", {vocab, hidden});
  for (Index index = 0; index < config_.layers; ++index) {
    const std::string prefix = block_prefix(index);
    for (const char* norm : {"self_attn.q_norm.weight", "self_attn.k_norm.weight"})
      if (tensors_.contains(prefix + norm))
        throw pare::FormatError(directory_.string() + ": " + prefix + norm +
                                ": normalized queries and keys are not supported");
    require_shape(prefix + "input_layernorm.weight", {hidden});
    require_shape(prefix + "post_attention_layernorm.weight", {hidden});
    for (std::size_t i = 0; i < linear_names.size(); ++i) {
      const auto id = static_cast<LinearId>(i);
      const std::string name = linear_name(index, id);
      const auto [out, in] = linear_shape(config_, id);
      if (!quantization_ || !quantization_->holds(tensors_, name))
        require_shape(name + ".weight", {out, in});
      if (tensors_.contains(name + ".bias")) require_shape(name + ".bias", {out});
    }
  }
}

void Checkpoint::require_shape(const std::string& name, const std::vector<Index>& shape) const {
  if (const auto& stored = tensors_.info(name).shape; stored != shape)
    throw pare::ShapeError(directory_.string() + ": " + name + ": the tensor has the shape " +
                           pare::to_string(stored) + ", the configuration gives it " +
                           pare::to_string(shape));
}

nlohmann::json Checkpoint::open_config() const {
  if (!std::filesystem::is_directory(directory_))
    throw pare::IoError(directory_.string() + ": there is no such directory");
  return pare::read_json(directory_ / "config.json");
}

ModelConfig Checkpoint::parse() const {
  return pare::with_context((directory_ / "config.json").string(), [&] {
    try {
      return parse_config(json_);
    } catch (const nlohmann::json::exception& e) {
      throw pare::FormatError(std::string("a field has the wrong type: ") + e.what());
    }
  });
}

pare::Matrix<float> Checkpoint::embedding() const {
  return read_matrix("model.embed_tokens.weight");
}

Block Checkpoint::block(Index index) const {
  Block block;
  const std::string prefix = block_prefix(index);
  block.input_norm = read_vector(prefix + "input_layernorm.weight");
  block.post_attention_norm = read_vector(prefix + "post_attention_layernorm.weight");
  for (std::size_t i = 0; i < linear_names.size(); ++i) {
    const auto id = static_cast<LinearId>(i);
    const std::string name = linear_name(index, id);
    Linear& linear = block[id];
    if (auto quantized = quantized_linear(index, id))
      linear = Linear(quantized->weight, quantized->activations);
    else
      linear = Linear(read_matrix(name + ".weight"));
    if (tensors_.contains(name + ".bias")) linear.set_bias(read_vector(name + ".bias"));
  }
  return block;
}

std::optional<QuantizedLinear> Checkpoint::quantized_linear(Index index, LinearId id) const {
  const std::string name = linear_name(index, id);
  if (!quantization_ || !quantization_->holds(tensors_, name)) return std::nullopt;
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

pare::Vector<float> Checkpoint::final_norm() const { return read_vector("model.norm.weight"); }

std::optional<Linear> Checkpoint::head() const {
  if (config_.tied_embeddings) return std::nullopt;
  return Linear(read_matrix("lm_head.weight"));
}

Model Checkpoint::load() const {
  Model model{config_, std::make_shared<pare::Matrix<float>>(embedding()), {}, final_norm(), {}};
  if (auto output = head()) model.head = std::make_shared<Linear>(std::move(*output));
  for (Index i = 0; i < config_.layers; ++i) model.blocks.push_back(block(i));
  release_pages();
  return model;
}

pare::Matrix<float> Checkpoint::read_matrix(const std::string& name) const {
  auto matrix = tensors_.read_matrix(name);
  pare::require_finite(matrix.view(), directory_.string() + ": " + name);
  return matrix;
}

pare::Vector<float> Checkpoint::read_vector(const std::string& name) const {
  auto vector = tensors_.read_vector(name);
  pare::require_finite(pare::MatrixView<const float>(vector.data(), {1, vector.size()}),
                       directory_.string() + ": " + name);
  return vector;
}

}  // namespace engine
