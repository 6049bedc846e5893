#include "cli/pipeline/model_writer.hpp"

#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "cli/model_copy.hpp"
#include "engine/block_tensors.hpp"
#include "pare/io/json.hpp"
#include "pare/io/mapped_file.hpp"
#include "pare/io/masked_tensor.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace cli {

namespace fs = std::filesystem;

ModelWriter::ModelWriter(const Output& output, const engine::Checkpoint& checkpoint,
                         bool replaces_output_layer)
    : layout_(output.layout),
      recipe_(output.recipe),
      smaller_(output.smaller),
      other_values_(output.other_values),
      checkpoint_(checkpoint),
      blocks_(checkpoint.config().layers),
      replaces_output_layer_(replaces_output_layer),
      compressed_shards_(blocks_ + (replaces_output_layer ? 1 : 0)),
      directory_(output.path, output.manifest, compressed_shards_ + 1) {}

Index ModelWriter::finished_blocks() const {
  Index done = 0;
  while (done < blocks_ && directory_.has_shard(done)) ++done;
  return done;
}

/// Values as the checkpoint stores the tensor `name`: those that no step changed get the bytes that
/// they had. A tensor that the checkpoint has not is stored as the matrix `like` is.
pare::NamedTensor ModelWriter::stored(const std::string& name, pare::MatrixView<const float> values,
                                      const std::string& like) const {
  const bool is_new = !checkpoint_.tensors().contains(name);
  const pare::TensorInfo& info = checkpoint_.tensors().info(is_new ? like : name);
  pare::NamedTensor tensor{name, layout_.float_type(info.dtype), info.shape, {}};
  if (is_new || info.shape.size() == 1)
    tensor.shape = {values.size()};
  else if (info.shape.size() == 2)
    tensor.shape = {values.rows(), values.cols()};
  if (tensor.dtype == pare::DType::F16 && info.dtype != pare::DType::F16)
    for (Index i = 0; i < values.rows(); ++i)
      for (Index j = 0; j < values.cols(); ++j)
        if (std::fabs(values(i, j)) > 65504.0f)
          throw pare::NumericError(name +
                                   ": the tensor holds a number beyond F16, which awq files need; "
                                   "use --save-as pare");
  const auto store = [&]<class T>(pare::TypeTag<T>) {
    const pare::Matrix<T> converted(values);
    const auto bytes =
        std::as_bytes(std::span(converted.data(), static_cast<std::size_t>(converted.size())));
    tensor.data.assign(bytes.begin(), bytes.end());
  };
  if (tensor.dtype == pare::DType::F16) {
    store(pare::TypeTag<pare::Float16>{});
  } else if (tensor.dtype == pare::DType::BF16) {
    store(pare::TypeTag<pare::BFloat16>{});
  } else {
    tensor.dtype = pare::DType::F32;
    store(pare::TypeTag<float>{});
  }
  return tensor;
}

pare::NamedTensor ModelWriter::stored(const std::string& name, const pare::Vector<float>& values,
                                      const std::string& like) const {
  return stored(name, pare::MatrixView<const float>(values.data(), {1, values.size()}), like);
}

void ModelWriter::add_layer(const std::string& name, const engine::QuantizedLinear& linear,
                            Shard& shard) const {
  for (auto& tensor : layout_.tensors(name, linear.weight))
    shard.tensors.push_back(std::move(tensor));
  shard.layers[name] = engine::QuantizationSettings::layer_json(linear);
}

void ModelWriter::add_weight(const std::string& name, pare::MatrixView<const float> values,
                             Shard& shard) const {
  pare::NamedTensor weight = stored(name, values);
  if (layout_.has_masks() && weight.shape.size() == 2) {
    auto masked = pare::masked_tensors(name, weight.info());
    std::size_t bytes = 0;
    for (const pare::NamedTensor& tensor : masked) bytes += tensor.data.size();
    if (bytes < weight.data.size()) {
      for (auto& tensor : masked) shard.tensors.push_back(std::move(tensor));
      return;
    }
  }
  shard.tensors.push_back(std::move(weight));
}

void ModelWriter::add_layers(const BlockInWork& work, Shard& shard) const {
  for (const Layer& layer : work.layers) {
    const engine::LinearDescription& description = work.block.description.linears[layer.index];
    if (description.expert >= 0 && work.block.read_expert) continue;
    const engine::Linear& linear = work.block.linears[layer.index];
    if (const auto& bias = linear.bias(); !bias.empty())
      shard.tensors.push_back(stored(layer.name + ".bias", bias, layer.name + ".weight"));
    if (const auto found = work.quantized.find(layer.name); found != work.quantized.end())
      add_layer(layer.name, found->second, shard);
    else if (description.transposed)
      add_weight(layer.name + ".weight", linear.dense().view().transposed(), shard);
    else
      add_weight(layer.name + ".weight", linear.dense().view(), shard);
  }
}

void ModelWriter::round_as_stored(BlockInWork& work) const {
  const auto round = [](pare::DType dtype, float* values, Index count) {
    for (Index i = 0; i < count; ++i)
      if (dtype == pare::DType::F16)
        values[i] = static_cast<float>(pare::Float16(values[i]));
      else if (dtype == pare::DType::BF16)
        values[i] = static_cast<float>(pare::BFloat16(values[i]));
  };
  for (const Layer& layer : work.layers) {
    engine::Linear& linear = work.block.linears[layer.index];
    // Of layers that are quantized already nothing float is stored.
    if (!checkpoint_.tensors().contains(layer.name + ".weight")) continue;
    const auto type_of = [&](const std::string& tensor) {
      const std::string& like =
          checkpoint_.tensors().contains(tensor) ? tensor : layer.name + ".weight";
      return layout_.float_type(checkpoint_.tensors().info(like).dtype);
    };
    round(type_of(layer.name + ".weight"), linear.dense().data(), linear.dense().size());
    round(type_of(layer.name + ".bias"), linear.bias().data(), linear.bias().size());
  }
}

void ModelWriter::write_block(const BlockInWork& work) {
  Shard shard;
  engine::for_each_norm_tensor(config(), work.index, work.block,
                               [&](const std::string& name, const pare::Vector<float>& values) {
                                 shard.tensors.push_back(stored(name, values));
                               });
  std::vector<fs::path> pieces;
  if (const auto& experts = work.block.description.experts) {
    const std::string prefix = checkpoint_.config().block_prefix(work.index);
    shard.tensors.push_back(stored(prefix + experts->router + ".weight", work.block.router.view()));
    if (!experts->shared_gate.empty())
      shard.tensors.push_back(
          stored(prefix + experts->shared_gate + ".weight", work.block.shared_gate.view()));
    if (work.block.read_expert)
      for (Index e = 0; e < experts->count; ++e) pieces.push_back(expert_path(work.index, e));
  }
  add_layers(work, shard);
  shard.edits = work.edits;
  write_shard(directory_.shard_path(work.index), std::move(shard), pieces);
}

engine::Block ModelWriter::read_block(Index index) const {
  return engine::read_block(checkpoint_.config(), index, source(directory_.shard_path(index)),
                            engine::ReadExperts::when_used);
}

void ModelWriter::write_expert(const BlockInWork& expert, Index number) {
  Shard shard;
  add_layers(expert, shard);
  write_shard(expert_path(expert.index, number), std::move(shard));
}

engine::Block ModelWriter::read_expert(Index block, Index number) const {
  return engine::read_expert(checkpoint_.config(), block, number,
                             source(expert_path(block, number)));
}

fs::path ModelWriter::expert_path(Index block, Index expert) const {
  return directory_.piece_path(block, expert);
}

engine::BlockSource ModelWriter::source(const fs::path& file) const {
  struct Open {
    pare::SafetensorsReader reader;
    engine::QuantizationSettings settings;
  };
  auto reader = pare::SafetensorsReader::open(file);
  auto settings = layout_.settings(layers_of_shard(reader));
  const auto open = std::make_shared<Open>(Open{std::move(reader), std::move(settings)});
  const auto linear = [this, open](const std::string& name) {
    engine::Linear read;
    if (open->settings.holds(open->reader, name)) {
      const auto stored = open->settings.read(open->reader, name);
      read = engine::Linear(stored.weight, stored.activations);
    } else {
      const pare::Matrix<float> weight = pare::read_maybe_masked(open->reader, name + ".weight");
      read = engine::Linear(checkpoint_.is_transposed(name)
                                ? pare::Matrix<float>(weight.view().transposed())
                                : weight);
    }
    if (open->reader.contains(name + ".bias"))
      read.set_bias(open->reader.read_vector(name + ".bias"));
    return read;
  };
  return {.contains = [open](const std::string& name) { return open->reader.contains(name); },
          .vector = [open](const std::string& name) { return open->reader.read_vector(name); },
          .matrix = [open](const std::string& name) { return open->reader.read_matrix(name); },
          .linears =
              [open, linear](const std::vector<std::string>& names) {
                std::vector<engine::Linear> layers;
                for (const std::string& name : names) layers.push_back(linear(name));
                open->reader.drop_pages();
                return layers;
              }};
}

void ModelWriter::write_output_layer(const engine::QuantizedLinear& linear) {
  Shard shard;
  add_layer(checkpoint_.config().names.output, linear, shard);
  write_shard(directory_.shard_path(blocks_), std::move(shard));
}

void ModelWriter::finish() {
  if (!directory_.has_shard(compressed_shards_)) write_other_tensors();
  write_settings();
  if (smaller_) write_edits();
  pare::write_json(directory_.file_path(recipe_file_name), recipe_);
  copy_tokenizer(checkpoint_.files(), directory_);
  directory_.finish();
}

void ModelWriter::write_other_tensors() {
  const fs::path path = directory_.shard_path(compressed_shards_);
  if (!other_values_)
    return copy_tensors(checkpoint_.files(), other_tensors(), path,
                        layout_.float_type(pare::DType::BF16) == pare::DType::F16
                            ? CopiedType::f16_for_bf16
                            : CopiedType::unchanged);
  std::vector<pare::NamedTensor> tensors;
  std::vector<pare::TensorSpec> specs;
  for (const std::string& name : other_tensors()) {
    const pare::TensorInfo& info = checkpoint_.tensors().info(name);
    if (const auto values = other_values_(name))
      tensors.push_back(stored(name, values->view()));
    else
      tensors.push_back({name, info.dtype, info.shape, {info.bytes.begin(), info.bytes.end()}});
    specs.push_back(tensors.back().spec());
  }
  pare::SafetensorsWriter writer(path, specs);
  for (const pare::NamedTensor& tensor : tensors) writer.write(tensor);
  writer.finish();
}

void ModelWriter::write_shard(const fs::path& path, Shard shard,
                              const std::vector<fs::path>& pieces) const {
  std::vector<pare::TensorSpec> specs;
  for (const pare::NamedTensor& tensor : shard.tensors) specs.push_back(tensor.spec());
  std::vector<pare::SafetensorsReader> readers;
  for (const fs::path& piece : pieces) {
    const auto& reader = readers.emplace_back(pare::SafetensorsReader::open(piece));
    shard.layers.update(layers_of_shard(reader));
    for (const std::string& name : reader.names())
      specs.push_back({name, reader.info(name).dtype, reader.info(name).shape});
  }
  pare::SafetensorsMetadata metadata;
  if (layout_.describes_layers()) metadata["pare_layers"] = shard.layers.dump();
  if (smaller_) metadata["pare_edits"] = shard.edits.dump();
  pare::SafetensorsWriter writer(path, specs, metadata);
  for (const pare::NamedTensor& tensor : shard.tensors) writer.write(tensor);
  for (const auto& reader : readers) {
    for (const std::string& name : reader.names()) writer.write(name, reader.info(name).bytes);
    reader.drop_pages();
  }
  writer.finish();
  for (const fs::path& piece : pieces) fs::remove(piece);
}

nlohmann::json ModelWriter::layers_of_shard(const pare::SafetensorsReader& reader) const {
  if (!layout_.describes_layers()) return nlohmann::json::object();
  return pare::parse_json(reader.metadata().at("pare_layers"));
}

/// Embeddings, final norm, the output layer unless it is replaced, and whatever else.
std::vector<std::string> ModelWriter::other_tensors() const {
  std::vector<std::string> names = checkpoint_.tensors().names();
  const std::string output_layer = checkpoint_.config().names.output + ".weight";
  // Codes and scales of a quantized layer, which its new ones replace.
  const auto is_of_codes = [&](const std::string& name) {
    const std::string layer = name.substr(0, name.rfind('.'));
    return layer != checkpoint_.config().names.output && checkpoint_.has_codes(layer);
  };
  std::erase_if(names, [&](const std::string& name) {
    return engine::is_block_tensor(checkpoint_.config(), name) || is_of_codes(name) ||
           (replaces_output_layer_ && name == output_layer);
  });
  return names;
}

void ModelWriter::write_edits() const {
  nlohmann::json edits = smaller_->edits_header;
  edits["edits"] = nlohmann::json::array();
  for (Index i = 0; i < blocks_; ++i) {
    const auto reader = pare::SafetensorsReader::open(directory_.shard_path(i));
    for (auto& edit : pare::parse_json(reader.metadata().at("pare_edits")))
      edits["edits"].push_back(std::move(edit));
  }
  pare::write_json(directory_.file_path(smaller_->edits_file), edits);
}

void ModelWriter::write_settings() {
  if (layout_.is_float()) {
    if (smaller_)
      return pare::write_json(directory_.file_path("config.json"), smaller_->config_json);
    const fs::path config = checkpoint_.directory() / "config.json";
    return pare::write_file(directory_.file_path("config.json"), pare::MappedFile(config).bytes());
  }
  nlohmann::json layers = nlohmann::json::object();
  for (Index i = 0; i < compressed_shards_; ++i)
    layers.update(layers_of_shard(pare::SafetensorsReader::open(directory_.shard_path(i))));
  nlohmann::json config = checkpoint_.json();
  nlohmann::json& settings = config["quantization_config"];
  settings = layout_.quantization_config(std::move(layers));
  if (layout_.has_settings_file())
    pare::write_json(directory_.file_path("quantize_config.json"), settings);
  layout_.set_float_type(config);
  pare::write_json(directory_.file_path("config.json"), config);
}

}  // namespace cli
