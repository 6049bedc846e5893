#include <algorithm>
#include <system_error>

#include "engine/block_tensors.hpp"
#include "engine/checkpoint.hpp"
#include "engine/foreign_layers.hpp"
#include "engine/warnings.hpp"
#include "pare/io/masked_tensor.hpp"

/// What is checked of a checkpoint before anything of it is read, and what is told.
namespace engine {

/// A norm in a block that the description does not have would change every answer.
void Checkpoint::refuse_other_norms() {
  const std::string blocks = config_.names.root + config_.names.blocks;
  for (const std::string& name : tensors_.names())
    if (config_.not_computed.empty() && name.starts_with(blocks) &&
        name.find("norm") != std::string::npos && name.ends_with(".weight") &&
        !is_block_tensor(config_, name))
      config_.not_computed = name + " asks for a norm that this engine does not compute there";
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

void Checkpoint::require_norm(const std::string& name, Index size) const {
  const TensorNames& names = config_.names;
  require_shape(name + names.norm_weight, {size});
  if (tensors_.contains(name + names.norm_bias)) require_shape(name + names.norm_bias, {size});
}

void Checkpoint::require_linear(const std::string& name, const pare::Shape<2>& shape,
                                bool transposed) const {
  const pare::Shape<2> stored{shape[transposed ? 1 : 0], shape[transposed ? 0 : 1]};
  if (has_mask(name)) {
    pare::with_context(directory_.string(), [&] {
      const auto found = pare::masked_shape(tensors_, name + ".weight");
      if (found != stored)
        throw pare::ShapeError(name + ".weight_shape: the shape is " + pare::to_string(found) +
                               ", the configuration gives it " + pare::to_string(stored));
    });
  } else if (!has_codes(name) && !(packed_ && packed_->find(name))) {
    require_float(name + ".weight", name);
    require_shape(name + ".weight", {stored[0], stored[1]});
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

}  // namespace engine
