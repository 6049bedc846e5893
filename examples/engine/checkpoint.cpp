#include "engine/checkpoint.hpp"

#include <algorithm>
#include <memory>
#include <system_error>
#include <utility>

#include "engine/block_tensors.hpp"
#include "engine/foreign_layers.hpp"
#include "engine/pooling.hpp"
#include "engine/warnings.hpp"
#include "pare/core/finite.hpp"
#include "pare/io/file_kind.hpp"
#include "pare/io/json.hpp"
#include "pare/io/quantization_config.hpp"

namespace engine {
namespace {

/// A tensor of any rank as a matrix of `rows` rows.
pare::Matrix<float> reshaped(pare::TensorInfo info, Index rows) {
  Index elements = 1;
  for (const Index extent : info.shape) elements *= extent;
  info.shape = {rows, elements / rows};
  return pare::to_matrix(info);
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

/// A norm in a block that the description does not have would change every answer.
void Checkpoint::refuse_other_norms() {
  const std::string blocks = config_.names.root + config_.names.blocks;
  for (const std::string& name : tensors_.names())
    if (config_.not_computed.empty() && name.starts_with(blocks) &&
        name.find("norm") != std::string::npos && name.ends_with(".weight") &&
        !is_block_tensor(config_, name))
      config_.not_computed = name + " asks for a norm that this engine does not compute there";
}

void Checkpoint::open_quantization() {
  if (!found_) return;
  const bool is_packed = pare::with_context(found_->file.string(), [&] {
    if (PackedLayers::are_in(found_->settings)) return true;
    quantization_ = QuantizationSettings::from_json(found_->settings);
    return false;
  });
  if (is_packed) packed_.emplace(directory_, found_->settings);
}

/// The output layer is what is stored: tie_word_embeddings is believed where nothing contradicts.
void Checkpoint::settle_output_layer() {
  if (config_.encoder) return;
  const std::string layer = config_.names.output;
  const bool is_quantized = has_codes(layer) || (packed_ && packed_->find(layer));
  const bool is_stored = is_quantized || tensors_.contains(layer + ".weight");
  const auto settle = [&](bool tied, const std::string& why) {
    config_.tied_embeddings = tied;
    json_["tie_word_embeddings"] = tied;
    warn_once((directory_ / "config.json").string() + ": " + why);
  };
  if (config_.tied_embeddings && is_stored && (is_quantized || !output_layer_is_embedding()))
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

void Checkpoint::warn_of_oddities() const {
  for (const std::string& notice : config_.notices)
    warn_once((directory_ / "config.json").string() + ": " + notice);
  if (found_)
    for (const std::string& notice : found_->notices) warn_once(notice);
  warn_of_blocks_beyond();
  if (!quantization_ && !packed_) warn_of_biases();
  const auto is_there = [&](const char* name) {
    std::error_code error;
    return std::filesystem::exists(directory_ / name, error);
  };
  if (is_there("model.safetensors") && is_there("model.safetensors.index.json"))
    warn_once(directory_.string() +
              ": model.safetensors is read, model.safetensors.index.json is not");
}

void Checkpoint::warn_of_blocks_beyond() const {
  const std::string prefix = config_.names.root + config_.names.blocks;
  Index first = 0, last = -1;
  for (const std::string& name : tensors_.names()) {
    if (!name.starts_with(prefix)) continue;
    const std::string number =
        name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size());
    if (number.empty() || number.size() > 9 ||
        number.find_first_not_of("0123456789") != std::string::npos)
      continue;
    const Index block = std::stol(number);
    if (block < config_.layers) continue;
    first = last < 0 ? block : std::min(first, block);
    last = std::max(last, block);
  }
  if (last < 0) return;
  const auto name = [&](Index block) { return config_.block_prefix(block) + "*"; };
  warn_once(directory_.string() + ": " + name(first) +
            (last > first ? " to " + name(last) + " are" : " is") +
            " beyond the num_hidden_layers of config.json, " + std::to_string(config_.layers) +
            ": no part of the model, copied as they are and not quantized");
}

/// Biases that the configuration gives, against those that are stored and used.
void Checkpoint::warn_of_biases() const {
  for (Index index = 0; index < config_.layers; ++index)
    for (std::size_t i = 0; i < config_.block(index).linears.size(); ++i) {
      const bool expected = config_.block(index).linears[i].bias;
      const std::string name = config_.linear_name(index, i) + ".bias";
      const bool stored = tensors_.contains(name);
      if (stored == expected) continue;
      if (stored) {
        const pare::Vector<float> bias = tensors_.read_vector(name);
        if (std::all_of(bias.data(), bias.data() + bias.size(), [](float b) { return b == 0.0f; }))
          continue;
      }
      return warn_once((directory_ / "config.json").string() + ": " +
                       (stored
                            ? name + " is stored though the configuration gives it none: it is used"
                            : name + " is not stored though the configuration gives it one: "
                                     "none is used"));
    }
}

void Checkpoint::require_forward() const {
  pare::with_context((directory_ / "config.json").string(), [&] { config_.require_forward(); });
}

std::string Checkpoint::quantization() const {
  if (packed_) return "pare, packed";
  return quantization_ ? quantization_->method() : "";
}

/// Before anything is computed or allocated: every tensor is there and has the shape that the
/// configuration gives it.
void Checkpoint::require_tensors() const {
  const Index hidden = config_.hidden_size, vocab = config_.vocab_size;
  const TensorNames& names = config_.names;
  if (!names.embedding.empty()) {
    require_shape(embedding_name(), {vocab, hidden});
    require_float(embedding_name(), names.root + names.embedding);
  }
  if (!names.positions.empty())
    require_rows(names.root + names.positions,
                 config_.max_positions + (config_.encoder ? config_.encoder->first_position() : 0));
  if (!names.final_norm.empty()) require_norm(names.root + names.final_norm, hidden);
  if (config_.encoder) require_encoder_tensors();
  if (!config_.tied_embeddings) require_linear(names.output, {vocab, hidden}, false);
  for (Index index = 0; index < config_.layers; ++index) {
    for (const NormShape& norm : norm_shapes(config_, index)) require_norm(norm.name, norm.size);
    const auto& experts = config_.block(index).experts;
    for (const std::string& name : router_names(config_, index))
      require_shape(name + ".weight",
                    {name.ends_with(experts->router) ? experts->count : 1, hidden});
    for (std::size_t i = 0; i < config_.block(index).linears.size(); ++i) {
      const LinearDescription& linear = config_.block(index).linears[i];
      require_linear(config_.linear_name(index, i), linear.shape, linear.transposed);
    }
  }
}

void Checkpoint::require_encoder_tensors() const {
  const EncoderDescription& encoder = *config_.encoder;
  const std::string& root = config_.names.root;
  const Index hidden = config_.hidden_size;
  if (!encoder.types.empty())
    require_shape(root + encoder.types + ".weight", {encoder.type_count, hidden});
  if (!encoder.embedding_norm.empty()) require_norm(root + encoder.embedding_norm, hidden);
  if (encoder.image) {
    const ImageDescription& image = *encoder.image;
    require_shape(root + image.projection + ".weight",
                  {hidden, image.channels, image.patch, image.patch});
    for (const std::string& token : image.first_tokens) require_rows(root + token, 1);
  }
}

/// A table of `rows` states, whatever its rank.
void Checkpoint::require_rows(const std::string& name, Index rows) const {
  const auto& stored = tensors_.info(name).shape;
  Index elements = 1;
  for (const Index extent : stored) elements *= extent;
  if (stored.empty() || stored.back() != config_.hidden_size ||
      elements != rows * config_.hidden_size)
    throw pare::ShapeError(directory_.string() + ": " + name + ": the tensor has the shape " +
                           pare::to_string(stored) + ", the configuration gives it " +
                           std::to_string(rows) + " rows of " +
                           std::to_string(config_.hidden_size));
}

void Checkpoint::require_norm(const std::string& name, Index size) const {
  const TensorNames& names = config_.names;
  require_shape(name + names.norm_weight, {size});
  if (tensors_.contains(name + names.norm_bias)) require_shape(name + names.norm_bias, {size});
}

void Checkpoint::require_linear(const std::string& name, const pare::Shape<2>& shape,
                                bool transposed) const {
  if (!has_codes(name) && !(packed_ && packed_->find(name))) {
    require_float(name + ".weight", name);
    require_shape(name + ".weight", {shape[transposed ? 1 : 0], shape[transposed ? 0 : 1]});
  }
  if (tensors_.contains(name + ".bias")) require_shape(name + ".bias", {shape[0]});
}

/// Every packed layer is one of the model's and has the shape that the configuration gives it.
void Checkpoint::require_packed_layers() const {
  for (const auto& [name, layer] : packed_->layers()) {
    const std::string place = (directory_ / layer.file).string() + ": matrix \"" + name + "\": ";
    const auto found = layers_.find(name);
    if (found == layers_.end()) throw pare::FormatError(place + "the model has no such layer");
    const pare::Shape<2> shape{layer.record.shape.rows, layer.record.shape.cols};
    if (const pare::Shape<2>& expected = found->second.shape; shape != expected)
      throw pare::ShapeError(place + "the shape is " + pare::to_string(shape) +
                             ", the configuration gives it " + pare::to_string(expected));
  }
}

void Checkpoint::require_shape(const std::string& name, const std::vector<Index>& shape) const {
  if (const auto& stored = tensors_.info(name).shape; stored != shape)
    throw pare::ShapeError(directory_.string() + ": " + name + ": the tensor has the shape " +
                           pare::to_string(stored) + ", the configuration gives it " +
                           pare::to_string(shape));
}

/// A weight that is no float tensor is named as what it is.
void Checkpoint::require_float(const std::string& name, const std::string& layer) const {
  const auto contains = [&](const std::string& tensor) { return tensors_.contains(tensor); };
  const auto refuse = [&](const std::string& what) {
    throw pare::FormatError(directory_.string() + ": " + layer + " is " + what +
                            "; pare, gptq and awq checkpoints with their settings can be read, and "
                            "models in F32, F16, BF16 or F64");
  };
  if (const bool stored = tensors_.contains(name); stored && is_float(tensors_.info(name).dtype))
    return;
  else if (const std::string what = foreign_layer(layer, contains); !what.empty())
    refuse(what);
  else if (stored)
    refuse("stored as " + std::string(to_string(tensors_.info(name).dtype)));
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
  if (!std::filesystem::exists(config, ignored))
    throw pare::IoError(config.string() + ": there is no such file" +
                        pare::detail::describe_weights_found(directory_));
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
  return read_block(
      config_, index,
      {.contains = [&](const std::string& name) { return tensors_.contains(name); },
       .vector = [&](const std::string& name) { return read_vector(name); },
       .matrix = [&](const std::string& name) { return read_matrix(name); },
       .linears =
           [&](const std::vector<std::string>& layers) { return linears(layers, execution); }});
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
      layers[i] =
          Linear(layers_.at(name).transposed
                     ? pare::Matrix<float>(read_matrix(name + ".weight").view().transposed())
                     : read_matrix(name + ".weight"));
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

bool Checkpoint::has_head(const HeadDescription& head) const {
  return std::all_of(head.layers.begin(), head.layers.end(), [&](const HeadLayer& layer) {
    return tensors_.contains(layer.linear + ".weight");
  });
}

/// What stands behind the blocks of an encoder.
void Checkpoint::read_encoder(Model& model) const {
  const EncoderDescription& encoder = *config_.encoder;
  const std::string pooler = config_.names.root + encoder.pooler;
  if (!encoder.pooler.empty() && tensors_.contains(pooler + ".weight"))
    model.pooler = std::make_shared<Linear>(read_linear(pooler));
  for (const HeadDescription& description : encoder.heads) {
    if (!has_head(description) || (description.pooled && !model.pooler)) continue;
    Head head{description, {}, {}};
    for (const HeadLayer& layer : description.layers)
      head.layers.push_back(
          {read_linear(layer.linear), layer.norm.empty() ? Norm{} : read_norm(layer.norm)});
    if (!description.embedding_bias.empty())
      head.embedding_bias = read_vector(description.embedding_bias);
    model.heads.push_back(std::move(head));
  }
  const Pooling pooling = read_pooling(directory_);
  model.pools_by_mean = pooling.by_mean;
  model.normalizes_sentences = pooling.normalizes;
}

/// A layer outside blocks; convolutions as the product of flat patches.
Linear Checkpoint::read_linear(const std::string& name) const {
  const pare::TensorInfo& info = tensors_.info(name + ".weight");
  const Index rows = info.shape.empty() ? 1 : info.shape.front();
  pare::Matrix<float> weight =
      info.shape.size() == 2 ? read_matrix(name + ".weight") : reshaped(info, rows);
  if (info.shape.size() != 2)
    pare::require_finite(weight.view(), directory_.string() + ": " + name);
  Linear linear(std::move(weight));
  if (tensors_.contains(name + ".bias")) {
    require_shape(name + ".bias", {rows});
    linear.set_bias(read_vector(name + ".bias"));
  }
  return linear;
}

pare::Matrix<float> Checkpoint::read_rows(const std::string& name) const {
  const pare::TensorInfo& info = tensors_.info(name);
  const auto width = static_cast<std::size_t>(config_.hidden_size);
  const std::size_t elements = info.bytes.size() * 8 / static_cast<std::size_t>(bits(info.dtype));
  pare::Matrix<float> rows = reshaped(info, static_cast<Index>(elements / width));
  pare::require_finite(rows.view(), directory_.string() + ": " + name);
  return rows;
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
