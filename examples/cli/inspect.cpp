#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.hpp"
#include "cli/pipeline/layer.hpp"
#include "cli/plain_model.hpp"
#include "cli/printable.hpp"
#include "engine/checkpoint.hpp"
#include "pare/io/masked_tensor.hpp"
#include "pare/io/packed_file.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/safetensors_reader.hpp"

namespace cli {
namespace {

void print_part(const std::string& name, const std::string& type, const std::string& shape,
                std::uint64_t bytes) {
  std::printf("%-64s %-8s %-18s %12llu\n", printable(name).c_str(), printable(type).c_str(),
              shape.c_str(), static_cast<unsigned long long>(bytes));
}

void print_tensor(const std::string& name, const pare::TensorInfo& info) {
  print_part(name, std::string(to_string(info.dtype)), pare::to_string(info.shape),
             info.bytes.size());
}

void print_record(const pare::PackedRecord& record) {
  print_part(record.name, record.format,
             pare::to_string(pare::Shape<2>{record.shape.rows, record.shape.cols}),
             record.size_bytes);
}

void inspect_packed_file(const std::filesystem::path& path) {
  const pare::PackedFile file(path);
  std::uint64_t total = 0;
  for (const pare::PackedRecord& record : file.records()) {
    print_record(record);
    total += record.size_bytes;
  }
  std::printf("%zu packed matrices, %.2f MB\n", file.records().size(),
              static_cast<double>(total) / 1e6);
}

void inspect_file(const std::filesystem::path& path) {
  if (path.extension() == ".pack") return inspect_packed_file(path);
  const auto reader = pare::SafetensorsReader::open(path);
  for (const auto& [key, value] : reader.metadata())
    std::printf("%s: %s\n", printable(key).c_str(),
                printable(value.size() > 200 ? value.substr(0, 200) + "..." : value).c_str());
  std::size_t total = 0;
  for (const std::string& name : reader.names()) {
    print_tensor(name, reader.info(name));
    total += reader.info(name).bytes.size();
  }
  std::printf("%zu tensors, %.2f MB\n", reader.names().size(), static_cast<double>(total) / 1e6);
}

/// `weight` is the form in which the layer is stored.
template <class Weight>
void print_layer(const std::string& name, const Weight& weight, const engine::Linear& linear) {
  std::printf("%-34s %-8s %6td %7.3f %12td  %s\n", name.c_str(),
              std::string(weight.format()).c_str(), weight.group_size(), weight.bits_per_weight(),
              weight.bytes(), linear.describe(1, {}).c_str());
}

void inspect_layers(const engine::Checkpoint& checkpoint) {
  std::printf("%-34s %-8s %6s %7s %12s  %s\n", "layer", "format", "group", "bits/w", "bytes",
              "kernel for one token");
  // The first one with a quantized layer: rules may have skipped others.
  const Index blocks = checkpoint.config().layers;
  const auto is_quantized = [&](Index index) {
    const auto has = [&](const Layer& layer) {
      return checkpoint.packed() ? checkpoint.packed()->find(layer.name) != nullptr
                                 : checkpoint.quantized_linear(layer.name).has_value();
    };
    const std::vector<Layer> layers = layers_of_block(checkpoint.config(), index);
    return std::any_of(layers.begin(), layers.end(), has);
  };
  Index shown = 0;
  while (shown < blocks && !is_quantized(shown)) ++shown;
  if (shown == blocks) shown = 0;
  const engine::Block block = checkpoint.packed() ? checkpoint.block(shown) : engine::Block{};
  for (const auto& [name, site, index] : layers_of_block(checkpoint.config(), shown)) {
    if (const auto linear = checkpoint.quantized_linear(name))
      print_layer(name, linear->weight, engine::Linear(linear->weight, linear->activations));
    else if (checkpoint.packed() && block.linears[index].is_packed())
      print_layer(name, *block.linears[index].packed(), block.linears[index]);
  }
  std::printf("(block %td of %td)\n", shown, blocks);
  const std::string& name = checkpoint.config().names.output;
  if (const auto linear = checkpoint.quantized_linear(name))
    print_layer(name, linear->weight, engine::Linear(linear->weight, linear->activations));
  else if (checkpoint.packed() && checkpoint.packed()->find(name))
    if (const auto packed = checkpoint.head(); packed && packed->is_packed())
      print_layer(name, *packed->packed(), *packed);
}

/// The float layers of the first block that has one with a mask.
void inspect_masked_layers(const engine::Checkpoint& checkpoint) {
  const Index blocks = checkpoint.config().layers;
  const auto has_mask = [&](const Layer& layer) { return checkpoint.has_mask(layer.name); };
  Index shown = 0;
  std::vector<Layer> layers = layers_of_block(checkpoint.config(), shown);
  while (std::none_of(layers.begin(), layers.end(), has_mask)) {
    if (++shown == blocks) return;
    layers = layers_of_block(checkpoint.config(), shown);
  }
  std::printf("%-34s %-8s %7s %7s %12s\n", "layer", "type", "kept", "bits/w", "bytes");
  pare::SafetensorsCollection& tensors = checkpoint.tensors();
  for (const Layer& layer : layers) {
    if (!has_mask(layer)) continue;
    const std::string name = layer.name + ".weight";
    const pare::TensorInfo values = tensors.info(name + "_values");
    const auto shape = pare::masked_shape(tensors, name);
    const auto weights = static_cast<double>(std::max<Index>(1, shape[0] * shape[1]));
    std::size_t bytes = 0;
    for (const char* part : {"_mask", "_values", "_shape"})
      bytes += tensors.info(name + part).bytes.size();
    const auto kept = static_cast<double>(values.bytes.size()) * 8 / pare::bits(values.dtype);
    std::printf("%-34s %-8s %5.1f %% %7.3f %12zu\n", layer.name.c_str(),
                std::string(to_string(values.dtype)).c_str(), 100.0 * kept / weights,
                static_cast<double>(bytes) * 8 / weights, bytes);
  }
  std::printf("(block %td of %td)\n", shown, blocks);
}

void print_packed_layers(const engine::PackedLayers& packed) {
  std::set<std::string_view> files;
  std::uint64_t total = 0;
  for (const auto& [name, layer] : packed.layers()) {
    print_record(layer.record);
    files.insert(layer.file);
    total += layer.record.size_bytes;
  }
  std::printf("%zu packed matrices in %zu files, %.2f MB\n", packed.layers().size(), files.size(),
              static_cast<double>(total) / 1e6);
}

/// Matrices of a model whose family is not known.
void inspect_plain(const PlainModel& model) {
  std::printf("%s: the family is not known, so that nothing here runs the model\n",
              model.type().empty() ? "no config.json" : printable(model.type()).c_str());
  auto& tensors = model.files().tensors;
  std::size_t total = 0;
  for (const std::string& name : tensors.names()) {
    print_tensor(name, tensors.info(name));
    total += tensors.info(name).bytes.size();
  }
  std::printf("%zu tensors, %.2f MB\n", tensors.names().size(), static_cast<double>(total) / 1e6);
  if (!model.settings().is_null()) {
    const auto layers = pare::pare_layers(model.settings());
    std::printf("%zu quantized layers\n", layers.size());
    return;
  }
  const std::vector<LayerShape> layers = model.layers();
  const auto taken = std::count_if(layers.begin(), layers.end(),
                                   [](const LayerShape& layer) { return !layer.is_left; });
  std::printf("pare quantize --method rtn rounds %td of %zu matrices unless rules say otherwise\n",
              taken, layers.size());
}

void inspect_model(const std::filesystem::path& directory) {
  if (const auto plain = PlainModel::open(directory)) return inspect_plain(*plain);
  const engine::Checkpoint checkpoint(directory, engine::PackedAccess::map);
  const auto& c = checkpoint.config();
  std::printf("%s: %td blocks, %td wide, feed-forward %td, %td heads of %td, %td key-value heads, ",
              c.family.c_str(), c.layers, c.hidden_size, c.intermediate_size, c.heads, c.head_dim,
              c.kv_heads);
  for (const engine::BlockDescription& block : c.blocks)
    if (block.experts) {
      std::printf("%td experts, %td of them for a token, ", block.experts->count,
                  block.experts->chosen);
      break;
    }
  if (c.encoder && c.encoder->image)
    std::printf("images of %td x %td\n", c.encoder->image->size, c.encoder->image->size);
  else
    std::printf("vocabulary %td, context %td\n", c.vocab_size, c.max_positions);
  const std::string quantization = checkpoint.quantization();
  std::printf("quantization: %s\n", quantization.empty() ? "none" : quantization.c_str());
  std::size_t total = 0;
  for (const std::string& name : checkpoint.tensors().names()) {
    const auto& info = checkpoint.tensors().info(name);
    print_tensor(name, info);
    total += info.bytes.size();
  }
  std::printf("%zu tensors, %.2f MB\n", checkpoint.tensors().names().size(),
              static_cast<double>(total) / 1e6);
  if (checkpoint.packed()) print_packed_layers(*checkpoint.packed());
  if (checkpoint.is_masked())
    inspect_masked_layers(checkpoint);
  else if (!quantization.empty())
    inspect_layers(checkpoint);
}

}  // namespace

void inspect(const InspectCommand& options) {
  if (std::error_code ignored; std::filesystem::is_directory(options.target, ignored))
    inspect_model(options.target);
  else
    inspect_file(options.target);
}

}  // namespace cli
