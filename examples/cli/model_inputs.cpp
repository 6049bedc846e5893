#include "cli/model_inputs.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/io/stored_tensor.hpp"

namespace cli {
namespace {

template <class T>
std::vector<std::int64_t> widened(const pare::TensorInfo& info) {
  std::vector<std::int64_t> values(info.bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, info.bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<std::int64_t>(value);
  }
  return values;
}

void require_shape(const pare::SafetensorsReader& file, const char* name,
                   const std::vector<Index>& shape) {
  if (const auto& stored = file.info(name).shape; stored != shape)
    throw pare::FormatError(std::string(name) + " has the shape " + pare::to_string(stored) +
                            ", not " + pare::to_string(shape));
}

/// Tokens and token types: beyond what is stored the embedding refuses.
std::vector<std::int32_t> narrowed(const std::vector<std::int64_t>& values, const char* name) {
  std::vector<std::int32_t> result;
  for (const std::int64_t value : values) {
    if (value < 0 || value > std::numeric_limits<std::int32_t>::max())
      throw pare::ArgumentError(std::string(name) + " holds " + std::to_string(value));
    result.push_back(static_cast<std::int32_t>(value));
  }
  return result;
}

void read_pixels(const pare::SafetensorsReader& file, const engine::ImageDescription& image,
                 engine::ModelInputs& inputs) {
  if (!file.contains("pixel_values"))
    throw pare::FormatError("there are no pixel_values, which a model of images reads");
  pare::TensorInfo info = file.info("pixel_values");
  const Index count = info.shape.empty() ? 0 : info.shape.front();
  require_shape(file, "pixel_values", {count, image.channels, image.size, image.size});
  info.shape = {count, image.pixels()};
  inputs.pixels = pare::to_matrix(info);
  inputs.length = image.tokens();
  pare::require_finite(inputs.pixels.view(), "pixel_values");
}

void read_text(const pare::SafetensorsReader& file, const engine::ModelConfig& config,
               engine::ModelInputs& inputs) {
  if (!file.contains("input_ids"))
    throw pare::FormatError("there are no input_ids, which a model of texts reads");
  const auto& shape = file.info("input_ids").shape;
  if (shape.size() != 2)
    throw pare::FormatError("input_ids has the shape " + pare::to_string(shape) +
                            ", not (sequences, length)");
  if (shape[1] == 0)
    throw pare::FormatError("input_ids has the shape " + pare::to_string(shape) +
                            ": the texts are empty");
  for (const char* other : {"position_ids", "inputs_embeds"})
    if (file.contains(other))
      throw pare::ArgumentError("the file holds " + std::string(other) +
                                ", which are not followed: leave them out");
  inputs.length = shape[1];
  inputs.ids = narrowed(read_integers(file, "input_ids"), "input_ids");
  // Rotated positions go on beyond the context; learned ones do not.
  if (inputs.length > config.max_positions && !config.names.positions.empty())
    throw pare::ArgumentError("input_ids has texts of " + std::to_string(inputs.length) +
                              " tokens, the model's context is " +
                              std::to_string(config.max_positions));
  for (const std::int32_t id : inputs.ids)
    if (id >= config.vocab_size)
      throw pare::ArgumentError("input_ids holds " + std::to_string(id) +
                                ", outside the vocabulary of " + std::to_string(config.vocab_size));
  if (config.encoder && file.contains("token_type_ids")) {
    require_shape(file, "token_type_ids", shape);
    inputs.types = narrowed(read_integers(file, "token_type_ids"), "token_type_ids");
    for (const std::int32_t type : inputs.types)
      if (config.encoder->type_count > 0 && type >= config.encoder->type_count)
        throw pare::ArgumentError("token_type_ids holds " + std::to_string(type) +
                                  ", the model has " + std::to_string(config.encoder->type_count) +
                                  " types");
  }
  if (!file.contains("attention_mask")) return;
  require_shape(file, "attention_mask", shape);
  const auto mask = read_integers(file, "attention_mask");
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] != 0 && mask[i] != 1)
      throw pare::FormatError("attention_mask holds " + std::to_string(mask[i]) +
                              ", neither 0 nor 1");
    inputs.visible.push_back(mask[i] != 0);
  }
  const bool all = std::find(mask.begin(), mask.end(), 0) == mask.end();
  if (!config.encoder && !all)
    throw pare::ArgumentError(
        "attention_mask hides tokens, which decoders here do not do: give "
        "texts of one length");
  if (all) inputs.visible.clear();
  for (Index n = 0; n < inputs.count() && !all; ++n)
    if (const auto first = mask.begin() + n * inputs.length;
        std::find(first, first + inputs.length, 1) == first + inputs.length)
      throw pare::ArgumentError("attention_mask hides all of text " + std::to_string(n));
}

}  // namespace

std::vector<std::int64_t> read_integers(const pare::SafetensorsReader& file, const char* name) {
  const pare::TensorInfo& info = file.info(name);
  switch (info.dtype) {
    case pare::DType::I64:
      return widened<std::int64_t>(info);
    case pare::DType::I32:
      return widened<std::int32_t>(info);
    case pare::DType::I16:
      return widened<std::int16_t>(info);
    case pare::DType::I8:
      return widened<std::int8_t>(info);
    case pare::DType::U8:
    case pare::DType::BOOL:
      return widened<std::uint8_t>(info);
    default:
      throw pare::FormatError(std::string(name) + " is stored as " +
                              std::string(to_string(info.dtype)) + ", not as integers");
  }
}

LabelledInputs read_model_inputs(const std::filesystem::path& path,
                                 const engine::ModelConfig& config) {
  const auto file = pare::SafetensorsReader::open(path);
  return pare::with_context(path.string(), [&] {
    LabelledInputs result;
    if (config.encoder && config.encoder->image)
      read_pixels(file, *config.encoder->image, result.inputs);
    else
      read_text(file, config, result.inputs);
    if (result.inputs.count() == 0) throw pare::ArgumentError("the file holds no inputs");
    if (file.contains("labels")) {
      require_shape(file, "labels", {result.inputs.count()});
      result.labels = read_integers(file, "labels");
    }
    return result;
  });
}

}  // namespace cli
