#include "engine/checkpoint.hpp"

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

#include "engine/stored_layout.hpp"
#include "engine/warnings.hpp"
#include "pare/core/finite.hpp"
#include "pare/io/file_kind.hpp"
#include "pare/io/json.hpp"
#include "pare/io/masked_tensor.hpp"
#include "pare/io/quantization_config.hpp"

namespace engine {
namespace {

std::string no_config(const std::filesystem::path& config) {
  const std::string weights = pare::detail::describe_weights_found(config.parent_path());
  if (!weights.empty()) return config.string() + ": there is no such file" + weights;
  return config.string() + ": there is no such file, and no weights are beside it";
}

}  // namespace

Checkpoint::Checkpoint(std::filesystem::path directory, PackedAccess access)
    : directory_(std::move(directory)),
      json_(open_config()),
      found_(pare::find_quantization_config(directory_)),
      config_(parse()),
      tensors_(pare::SafetensorsCollection::open(
          directory_, found_ ? pare::model_file_base_name(found_->settings) : "")),
      access_(access) {
  settle_names();
  open_quantization();
  settle_output_layer();
  refuse_other_norms();
  require_tensors();
  // Now the number of layers is known to be true.
  for (Index index = 0; index < config_.layers; ++index)
    for (std::size_t i = 0; i < config_.block(index).linears.size(); ++i) {
      const LinearDescription& linear = config_.block(index).linears[i];
      layers_.emplace(config_.linear_name(index, i), Layer{linear.shape, linear.transposed});
    }
  if (!config_.tied_embeddings)
    layers_.emplace(config_.names.output, Layer{{config_.vocab_size, config_.hidden_size}});
  if (packed_) require_packed_layers();
  if (quantization_ && std::none_of(layers_.begin(), layers_.end(),
                                    [&](const auto& layer) { return has_codes(layer.first); }))
    throw pare::FormatError(found_->file.string() + " says that the model is quantized by " +
                            quantization() + ", but every weight in " + directory_.string() +
                            " is float: take the settings out, or the other weights");
  warn_of_oddities();
}

/// Some files leave out what usually precedes all names, and old ones call norms' tensors
/// otherwise.
void Checkpoint::settle_names() {
  TensorNames& names = config_.names;
  const auto has_root = [&](const std::string& root) {
    return tensors_.contains(config_.encoder && config_.encoder->image
                                 ? root + names.positions
                                 : root + names.embedding + ".weight");
  };
  if (!has_root(names.root)) {
    const auto other = std::find_if(names.other_roots.begin(), names.other_roots.end(), has_root);
    if (other != names.other_roots.end()) names.root = *other;
  }
  if (!config_.encoder || config_.encoder->embedding_norm.empty()) return;
  const std::string norm = names.root + config_.encoder->embedding_norm;
  if (tensors_.contains(norm + ".gamma") && !tensors_.contains(norm + ".weight")) {
    names.norm_weight = ".gamma";
    names.norm_bias = ".beta";
  }
}

void Checkpoint::open_quantization() {
  if (!found_) return;
  const StoredLayout layout = pare::with_context(found_->file.string(), [&] {
    const StoredLayout stored = stored_layout(found_->settings);
    if (stored == StoredLayout::codes)
      quantization_ = QuantizationSettings::from_json(found_->settings);
    return stored;
  });
  if (layout == StoredLayout::packed) packed_.emplace(directory_, found_->settings);
  masked_ = layout == StoredLayout::masked;
}

/// The output layer is what is stored: tie_word_embeddings is believed where nothing contradicts.
void Checkpoint::settle_output_layer() {
  if (config_.encoder) return;
  const std::string layer = config_.names.output;
  const bool is_own = has_codes(layer) || has_mask(layer) || (packed_ && packed_->find(layer));
  const bool is_stored = is_own || tensors_.contains(layer + ".weight");
  const auto settle = [&](bool tied, const std::string& why) {
    config_.tied_embeddings = tied;
    json_["tie_word_embeddings"] = tied;
    warn_once((directory_ / "config.json").string() + ": " + why);
  };
  if (config_.tied_embeddings && is_stored && (is_own || !output_layer_is_embedding()))
    settle(false, "tie_word_embeddings is true, but " + layer +
                      " is stored and differs from the embedding: the stored one is used");
  else if (!config_.tied_embeddings && !is_stored && tensors_.contains(embedding_name()))
    settle(true, "tie_word_embeddings is not true, but there is no " + layer +
                     ".weight: the embedding is used as the output layer");
}

bool Checkpoint::output_layer_is_embedding() const {
  const std::string name = config_.names.output + ".weight";
  if (embedding_name() == name) return true;
  return pare::with_context(directory_.string(), [&] {
    const pare::TensorInfo head = tensors_.info(name), embedding = tensors_.info(embedding_name());
    if (head.shape != embedding.shape) return false;
    if (head.dtype == embedding.dtype)
      return std::equal(head.bytes.begin(), head.bytes.end(), embedding.bytes.begin());
    const pare::Matrix<float> a = pare::to_matrix(head), b = pare::to_matrix(embedding);
    return std::equal(a.data(), a.data() + a.size(), b.data());
  });
}

void Checkpoint::require_forward() const {
  pare::with_context((directory_ / "config.json").string(), [&] { config_.require_forward(); });
}

std::string Checkpoint::quantization() const {
  if (packed_) return "pare, packed";
  if (masked_) return "pare, masked";
  return quantization_ ? quantization_->method() : "";
}

nlohmann::json Checkpoint::open_config() const {
  std::error_code ignored;
  const auto status = std::filesystem::status(directory_, ignored);
  if (!std::filesystem::exists(status))
    throw pare::IoError(directory_.string() + ": there is no such directory");
  if (status.type() != std::filesystem::file_type::directory) {
    const pare::MappedFile file(directory_);  // refuses what is no file either
    const pare::FileKind kind = pare::file_kind(file.bytes());
    throw pare::IoError(directory_.string() + ": this is " +
                        (kind.known() ? std::string(kind.name) : "a file") +
                        ", not the directory of a model" +
                        (kind.remedy.empty() ? "" : ": " + std::string(kind.remedy)));
  }
  const std::filesystem::path config = directory_ / "config.json";
  if (!std::filesystem::exists(config, ignored)) throw pare::IoError(no_config(config));
  return pare::read_json(config);
}

/// Where only the output layer is stored of two that are one, it is the embedding.
std::string Checkpoint::embedding_name() const {
  const std::string usual = config_.names.root + config_.names.embedding + ".weight";
  const std::string other = config_.names.output + ".weight";
  return config_.tied_embeddings && !tensors_.contains(usual) && tensors_.contains(other) ? other
                                                                                          : usual;
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

Embedding Checkpoint::embedding() const {
  const TensorNames& names = config_.names;
  Embedding embedding;
  embedding.norm_description = config_.norm;
  embedding.scale = config_.embedding_scale;
  if (!names.embedding.empty()) embedding.tokens = read_matrix(embedding_name());
  if (!names.positions.empty()) embedding.positions = read_rows(names.root + names.positions);
  if (!config_.encoder) return embedding;
  const EncoderDescription& encoder = *config_.encoder;
  if (!encoder.types.empty()) embedding.types = read_matrix(names.root + encoder.types + ".weight");
  if (!encoder.embedding_norm.empty())
    embedding.norm = read_norm(names.root + encoder.embedding_norm);
  embedding.pad_token = encoder.pad_token;
  embedding.image = encoder.image;
  if (!encoder.image) return embedding;
  const ImageDescription& image = *encoder.image;
  embedding.tokens = pare::Matrix<float>({std::ssize(image.first_tokens), config_.hidden_size});
  for (Index i = 0; i < embedding.tokens.rows(); ++i)
    pare::copy(
        read_rows(names.root + image.first_tokens[static_cast<std::size_t>(i)]).view().row(0),
        embedding.tokens.row(i));
  embedding.projection = read_linear(names.root + image.projection);
  return embedding;
}

Block Checkpoint::block(Index index, const pare::Execution& execution) const {
  return read_block(config_, index, source(execution));
}

Block Checkpoint::block_without_experts(Index index) const {
  BlockSource frugal = source({});
  frugal.linears = [this](const std::vector<std::string>& names) {
    std::vector<Linear> layers = linears(names, {});
    release_pages();
    return layers;
  };
  return read_block(config_, index, frugal, ReadExperts::when_used);
}

BlockSource Checkpoint::source(const pare::Execution& execution) const {
  return {
      .contains = [this](const std::string& name) { return tensors_.contains(name); },
      .vector = [this](const std::string& name) { return read_vector(name); },
      .matrix = [this](const std::string& name) { return read_matrix(name); },
      .linears = [this, execution](
                     const std::vector<std::string>& names) { return linears(names, execution); }};
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
      layers[i] = Linear(layers_.at(name).transposed
                             ? pare::Matrix<float>(read_weight(name).view().transposed())
                             : read_weight(name));
    if (tensors_.contains(name + ".bias")) layers[i].set_bias(read_vector(name + ".bias"));
  }
  return layers;
}

bool Checkpoint::has_codes(const std::string& layer) const {
  return quantization_ && quantization_->holds(tensors_, layer);
}

bool Checkpoint::has_mask(const std::string& layer) const {
  return masked_ && pare::is_masked(tensors_, layer + ".weight");
}

std::optional<pare::ActivationOptions> Checkpoint::activations(const std::string& layer) const {
  if (!has_codes(layer)) return std::nullopt;
  return pare::with_context(directory_.string(), [&] { return quantization_->activations(layer); });
}

std::optional<QuantizedLinear> Checkpoint::quantized_linear(const std::string& layer) const {
  if (!has_codes(layer)) return std::nullopt;
  return pare::with_context(directory_.string(), [&]() -> std::optional<QuantizedLinear> {
    QuantizedLinear linear = quantization_->read(tensors_, layer);
    for (const std::string& notice : linear.notices) warn_once(directory_.string() + ": " + notice);
    const pare::Shape<2> shape{linear.weight.rows(), linear.weight.cols()};
    if (const pare::Shape<2>& expected = layers_.at(layer).shape; shape != expected)
      throw pare::ShapeError(layer + ": the layer has the shape " + pare::to_string(shape) +
                             ", the configuration gives it " + pare::to_string(expected));
    return linear;
  });
}

Norm Checkpoint::final_norm() const {
  const TensorNames& names = config_.names;
  return names.final_norm.empty() ? Norm{} : read_norm(names.root + names.final_norm);
}

Norm Checkpoint::read_norm(const std::string& name) const {
  const TensorNames& names = config_.names;
  Norm norm{read_vector(name + names.norm_weight), {}};
  if (tensors_.contains(name + names.norm_bias)) norm.bias = read_vector(name + names.norm_bias);
  return norm;
}

std::optional<Linear> Checkpoint::head(const pare::Execution& execution) const {
  if (config_.tied_embeddings) return std::nullopt;
  return std::move(linears({config_.names.output}, execution).front());
}

Model Checkpoint::load(const pare::Execution& execution) const {
  require_forward();
  Model model{config_, std::make_shared<Embedding>(embedding()), {}, final_norm()};
  if (auto output = head(execution)) model.head = std::make_shared<Linear>(std::move(*output));
  if (config_.encoder) read_encoder(model);
  for (Index i = 0; i < config_.layers; ++i) model.blocks.push_back(block(i, execution));
  release_pages();
  return model;
}

pare::Matrix<float> Checkpoint::read_matrix(const std::string& name) const {
  auto matrix = tensors_.read_matrix(name);
  pare::require_finite(matrix.view(), directory_.string() + ": " + name);
  return matrix;
}

/// As it is stored: of some families (in_features, out_features).
pare::Matrix<float> Checkpoint::read_weight(const std::string& layer) const {
  const std::string name = layer + ".weight";
  if (!has_mask(layer)) return read_matrix(name);
  auto weight = pare::with_context(directory_.string(),
                                   [&] { return pare::read_maybe_masked(tensors_, name); });
  pare::require_finite(weight.view(), directory_.string() + ": " + name);
  return weight;
}

pare::Vector<float> Checkpoint::read_vector(const std::string& name) const {
  auto vector = tensors_.read_vector(name);
  pare::require_finite(pare::MatrixView<const float>(vector.data(), {1, vector.size()}),
                       directory_.string() + ": " + name);
  return vector;
}

}  // namespace engine
