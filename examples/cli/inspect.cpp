#include <cstdio>
#include <string>

#include "cli/options.hpp"
#include "engine/checkpoint.hpp"
#include "pare/io/safetensors_reader.hpp"

namespace cli {
namespace {

/// Text of a file as a terminal may show it: control characters become '?'.
std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

void print_tensor(const std::string& name, const pare::TensorInfo& info) {
  std::printf("%-64s %-8s %-18s %12zu\n", printable(name).c_str(),
              std::string(to_string(info.dtype)).c_str(), pare::to_string(info.shape).c_str(),
              info.bytes.size());
}

void inspect_file(const std::filesystem::path& path) {
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

void inspect_layers(const engine::Checkpoint& checkpoint) {
  std::printf("%-34s %-8s %6s %7s %12s  %s\n", "layer", "format", "group", "bits/w", "bytes",
              "kernel for one token");
  for (std::size_t i = 0; i < engine::linear_names.size(); ++i) {
    const auto id = static_cast<engine::LinearId>(i);
    const auto linear = checkpoint.quantized_linear(0, id);
    if (!linear) continue;
    std::printf("%-34s %-8s %6td %7.3f %12td  %s\n", engine::linear_name(0, id).c_str(),
                std::string(linear->weight.format()).c_str(), linear->weight.group_size(),
                linear->weight.bits_per_weight(), linear->weight.bytes(),
                engine::Linear(linear->weight, linear->activations).describe(1, {}).c_str());
  }
  std::printf("(block 0 of %td)\n", checkpoint.config().layers);
}

void inspect_model(const std::filesystem::path& directory) {
  const engine::Checkpoint checkpoint(directory);
  const auto& c = checkpoint.config();
  std::printf(
      "%td blocks, %td wide, feed-forward %td, %td heads of %td, %td key-value heads, "
      "vocabulary %td, context %td\n",
      c.layers, c.hidden_size, c.intermediate_size, c.heads, c.head_dim, c.kv_heads, c.vocab_size,
      c.max_positions);
  std::printf("quantization: %s\n",
              checkpoint.quantization() ? checkpoint.quantization()->method() : "none");
  std::size_t total = 0;
  for (const std::string& name : checkpoint.tensors().names()) {
    const auto& info = checkpoint.tensors().info(name);
    print_tensor(name, info);
    total += info.bytes.size();
  }
  std::printf("%zu tensors, %.2f MB\n", checkpoint.tensors().names().size(),
              static_cast<double>(total) / 1e6);
  if (checkpoint.quantization()) inspect_layers(checkpoint);
}

}  // namespace

void inspect(const InspectCommand& options) {
  if (std::filesystem::is_directory(options.target))
    inspect_model(options.target);
  else
    inspect_file(options.target);
}

}  // namespace cli
