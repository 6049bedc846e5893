#include "cli/pipeline/model_writer.hpp"

#include <cmath>
#include <span>
#include <utility>

#include "cli/model_copy.hpp"
#include "engine/block_tensors.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace cli {

ModelWriter::ModelWriter(const Output& output, const engine::Checkpoint& checkpoint,
                         bool replaces_output_layer)
    : layout_(output.layout),
      recipe_(output.recipe),
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
/// they had.
pare::NamedTensor ModelWriter::stored(const std::string& name,
                                      pare::MatrixView<const float> values) const {
  const pare::TensorInfo& info = checkpoint_.tensors().info(name);
  pare::NamedTensor tensor{name, layout_.float_type(info.dtype), info.shape, {}};
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

pare::NamedTensor ModelWriter::stored(const std::string& name,
                                      const pare::Vector<float>& values) const {
  return stored(name, pare::MatrixView<const float>(values.data(), {1, values.size()}));
}

void ModelWriter::add_layer(const std::string& name, const engine::QuantizedLinear& linear,
                            std::vector<pare::NamedTensor>& tensors, nlohmann::json& layers) const {
  for (auto& tensor : layout_.tensors(name, linear.weight)) tensors.push_back(std::move(tensor));
  layers[name] = engine::QuantizationSettings::layer_json(linear);
}

void ModelWriter::write_block(const BlockInWork& work) {
  std::vector<pare::NamedTensor> tensors;
  nlohmann::json layers = nlohmann::json::object();
  engine::for_each_norm_tensor(checkpoint_.config(), work.index, work.block,
                               [&](const std::string& name, const pare::Vector<float>& values) {
                                 tensors.push_back(stored(name, values));
                               });
  if (const auto& experts = work.block.description.experts) {
    const std::string prefix = checkpoint_.config().block_prefix(work.index);
    tensors.push_back(stored(prefix + experts->router + ".weight", work.block.router.view()));
    if (!experts->shared_gate.empty())
      tensors.push_back(
          stored(prefix + experts->shared_gate + ".weight", work.block.shared_gate.view()));
  }
  for (const Layer& layer : work.layers) {
    const engine::Linear& linear = work.block.linears[layer.index];
    if (const auto& bias = linear.bias(); !bias.empty())
      tensors.push_back(stored(layer.name + ".bias", bias));
    if (const auto found = work.quantized.find(layer.name); found != work.quantized.end())
      add_layer(layer.name, found->second, tensors, layers);
    else if (work.block.description.linears[layer.index].transposed)
      tensors.push_back(stored(layer.name + ".weight", linear.dense().view().transposed()));
    else
      tensors.push_back(stored(layer.name + ".weight", linear.dense().view()));
  }
  write_shard(work.index, tensors, layers);
}

engine::Block ModelWriter::read_block(Index index) const {
  auto reader = pare::SafetensorsReader::open(directory_.shard_path(index));
  const engine::QuantizationSettings settings = layout_.settings(layers_of_shard(reader));
  const auto linear = [&](const std::string& name) {
    engine::Linear read;
    if (settings.holds(reader, name)) {
      const auto stored = settings.read(reader, name);
      read = engine::Linear(stored.weight, stored.activations);
    } else {
      const pare::Matrix<float> weight = reader.read_matrix(name + ".weight");
      read = engine::Linear(checkpoint_.is_transposed(name)
                                ? pare::Matrix<float>(weight.view().transposed())
                                : weight);
    }
    if (reader.contains(name + ".bias")) read.set_bias(reader.read_vector(name + ".bias"));
    return read;
  };
  return engine::read_block(
      checkpoint_.config(), index,
      {.contains = [&](const std::string& name) { return reader.contains(name); },
       .vector = [&](const std::string& name) { return reader.read_vector(name); },
       .matrix = [&](const std::string& name) { return reader.read_matrix(name); },
       .linears =
           [&](const std::vector<std::string>& names) {
             std::vector<engine::Linear> layers;
             for (const std::string& name : names) layers.push_back(linear(name));
             return layers;
           }});
}

void ModelWriter::write_output_layer(const engine::QuantizedLinear& linear) {
  std::vector<pare::NamedTensor> tensors;
  nlohmann::json layers = nlohmann::json::object();
  add_layer(checkpoint_.config().names.output, linear, tensors, layers);
  write_shard(blocks_, tensors, layers);
}

void ModelWriter::finish() {
  if (!directory_.has_shard(compressed_shards_))
    copy_tensors(checkpoint_.files(), other_tensors(), directory_.shard_path(compressed_shards_),
                 layout_.float_type(pare::DType::BF16) == pare::DType::F16
                     ? CopiedType::f16_for_bf16
                     : CopiedType::unchanged);
  write_settings();
  pare::write_json(directory_.file_path(recipe_file_name), recipe_);
  copy_tokenizer(checkpoint_.files(), directory_);
  directory_.finish();
}

void ModelWriter::write_shard(Index shard, const std::vector<pare::NamedTensor>& tensors,
                              const nlohmann::json& layers) const {
  pare::SafetensorsMetadata metadata;
  if (layout_.describes_layers()) metadata["pare_layers"] = layers.dump();
  pare::write_safetensors(directory_.shard_path(shard), tensors, metadata);
}

nlohmann::json ModelWriter::layers_of_shard(const pare::SafetensorsReader& reader) const {
  if (!layout_.describes_layers()) return nlohmann::json::object();
  return pare::parse_json(reader.metadata().at("pare_layers"));
}

/// Embeddings, final norm, the output layer unless it is replaced, and whatever else.
std::vector<std::string> ModelWriter::other_tensors() const {
  std::vector<std::string> names = checkpoint_.tensors().names();
  const std::string output_layer = checkpoint_.config().names.output + ".weight";
  std::erase_if(names, [&](const std::string& name) {
    return engine::is_block_tensor(checkpoint_.config(), name) ||
           (replaces_output_layer_ && name == output_layer);
  });
  return names;
}

void ModelWriter::write_settings() {
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
