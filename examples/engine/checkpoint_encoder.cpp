#include <algorithm>
#include <memory>
#include <utility>

#include "engine/checkpoint.hpp"
#include "engine/pooling.hpp"
#include "pare/core/finite.hpp"

/// What a checkpoint has before and behind the blocks of an encoder.
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

}  // namespace engine
