#include "engine/checkpoint.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "pare/core/finite.hpp"
#include "pare/io/json.hpp"
#include "pare/io/quantization_config.hpp"

namespace engine {
namespace {

std::map<std::string, pare::Shape<2>, std::less<>> linear_shapes(const ModelConfig& config) {
  std::map<std::string, pare::Shape<2>, std::less<>> shapes;
  for (Index index = 0; index < config.layers; ++index)
    for (std::size_t i = 0; i < linear_names.size(); ++i) {
      const auto id = static_cast<LinearId>(i);
      shapes.emplace(linear_name(index, id), linear_shape(config, id));
    }
  if (!config.tied_embeddings)
    shapes.emplace(output_layer_name, pare::Shape<2>{config.vocab_size, config.hidden_size});
  return shapes;
}

}  // namespace

Checkpoint::Checkpoint(std::filesystem::path directory, PackedAccess access)
    : directory_(std::move(directory)),
      json_(open_config()),
      config_(parse()),
      tensors_(pare::SafetensorsCollection::open(directory_)),
      access_(access) {
  open_quantization();
  require_tensors();
  shapes_ = linear_shapes(config_);  // now the number of layers is known to be true
  if (packed_) require_packed_layers();
}

void Checkpoint::open_quantization() {
  std::optional<nlohmann::json> settings;
  const bool is_packed = pare::with_context((directory_ / "config.json").string(), [&] {
    settings = pare::find_quantization_config(directory_);
    if (settings && PackedLayers::are_in(*settings)) return true;
    if (settings) quantization_ = QuantizationSettings::from_json(*settings);
    return false;
  });
  if (is_packed) packed_.emplace(directory_, *settings);
}

std::string Checkpoint::quantization() const {
  if (packed_) return "pare, packed";
  return quantization_ ? quantization_->method() : "";
}

/// Before anything is computed or allocated: every tensor is there and has the shape that the
/// configuration gives it.
void Checkpoint::require_tensors() const {
  const Index hidden = config_.hidden_size, vocab = config_.vocab_size;
  require_shape("model.embed_tokens.weight", {vocab, hidden});
  require_shape("model.norm.weight", {hidden});
  if (!config_.tied_embeddings) require_linear(std::string(output_layer_name), {vocab, hidden});
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
      require_linear(linear_name(index, id), linear_shape(config_, id));
    }
  }
}

void Checkpoint::require_linear(const std::string& name, const pare::Shape<2>& shape) const {
  if (!has_codes(name) && !(packed_ && packed_->find(name)))
    require_shape(name + ".weight", {shape[0], shape[1]});
  if (tensors_.contains(name + ".bias")) require_shape(name + ".bias", {shape[0]});
}

/// Every packed layer is one of the model's and has the shape that the configuration gives it.
void Checkpoint::require_packed_layers() const {
  for (const auto& [name, layer] : packed_->layers()) {
    const std::string place = (directory_ / layer.file).string() + ": matrix \"" + name + "\": ";
    const auto found = shapes_.find(name);
    if (found == shapes_.end()) throw pare::FormatError(place + "the model has no such layer");
    const pare::Shape<2> shape{layer.record.shape.rows, layer.record.shape.cols};
    if (shape != found->second)
      throw pare::ShapeError(place + "the shape is " + pare::to_string(shape) +
                             ", the configuration gives it " + pare::to_string(found->second));
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

Block Checkpoint::block(Index index, const pare::Execution& execution) const {
  Block block;
  const std::string prefix = block_prefix(index);
  block.input_norm = read_vector(prefix + "input_layernorm.weight");
  block.post_attention_norm = read_vector(prefix + "post_attention_layernorm.weight");
  std::vector<std::string> names;
  for (std::size_t i = 0; i < linear_names.size(); ++i)
    names.push_back(linear_name(index, static_cast<LinearId>(i)));
  std::vector<Linear> layers = linears(names, execution);
  std::move(layers.begin(), layers.end(), block.linears.begin());
  return block;
}

std::vector<Linear> Checkpoint::linears(const std::vector<std::string>& names,
                                        const pare::Execution& execution) const {
  std::vector<std::optional<Linear>> packed(names.size());
  if (packed_) packed = packed_->read(names, access_, execution);
  std::vector<Linear> layers(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& name = names[i];
    if (packed[i])
      layers[i] = std::move(*packed[i]);
    else if (auto quantized = quantized_linear(name))
      layers[i] = Linear(quantized->weight, quantized->activations, execution);
    else
      layers[i] = Linear(read_matrix(name + ".weight"));
    if (tensors_.contains(name + ".bias")) layers[i].set_bias(read_vector(name + ".bias"));
  }
  return layers;
}

bool Checkpoint::has_codes(const std::string& layer) const {
  return quantization_ && quantization_->holds(tensors_, layer);
}

std::optional<pare::ActivationOptions> Checkpoint::activations(const std::string& layer) const {
  if (!has_codes(layer)) return std::nullopt;
  return pare::with_context(directory_.string(), [&] { return quantization_->activations(layer); });
}

std::optional<QuantizedLinear> Checkpoint::quantized_linear(const std::string& layer) const {
  if (!has_codes(layer)) return std::nullopt;
  return pare::with_context(directory_.string(), [&]() -> std::optional<QuantizedLinear> {
    QuantizedLinear linear = quantization_->read(tensors_, layer);
    const pare::Shape<2> shape{linear.weight.rows(), linear.weight.cols()};
    if (const pare::Shape<2>& expected = shapes_.at(layer); shape != expected)
      throw pare::ShapeError(layer + ": the layer has the shape " + pare::to_string(shape) +
                             ", the configuration gives it " + pare::to_string(expected));
    return linear;
  });
}

pare::Vector<float> Checkpoint::final_norm() const { return read_vector("model.norm.weight"); }

std::optional<Linear> Checkpoint::head(const pare::Execution& execution) const {
  if (config_.tied_embeddings) return std::nullopt;
  return std::move(linears({std::string(output_layer_name)}, execution).front());
}

Model Checkpoint::load(const pare::Execution& execution) const {
  Model model{config_, std::make_shared<pare::Matrix<float>>(embedding()), {}, final_norm(), {}};
  if (auto output = head(execution)) model.head = std::make_shared<Linear>(std::move(*output));
  for (Index i = 0; i < config_.layers; ++i) model.blocks.push_back(block(i, execution));
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
