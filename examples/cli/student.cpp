#include "cli/student.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/input_paths.hpp"
#include "cli/model_copy.hpp"
#include "cli/structure/renumbered_copy.hpp"
#include "cli/structure/structure_plan.hpp"
#include "engine/block_tensors.hpp"
#include "engine/config_changes.hpp"
#include "pare/core/random.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace cli {
namespace {

namespace fs = std::filesystem;

/// Says that a directory is a student's.
constexpr const char* marker = "pare_student.json";

void write_half_depth(const engine::Checkpoint& of, const fs::path& directory) {
  const engine::ModelConfig& config = of.config();
  if (config.layers < 2)
    throw pare::ArgumentError("half-depth of a model of one block: there is none to leave out");
  std::vector<Index> kept;
  for (Index block = 0; block < config.layers; block += 2) kept.push_back(block);
  const engine::ModelConfig now = keep_blocks(config, kept);
  pare::write_json(directory / "config.json", engine::config_json(of.json(), config, now, kept));
  std::vector<CopiedTensor> all;
  for (auto& shard : tensors_without_blocks(of, kept))
    std::move(shard.begin(), shard.end(), std::back_inserter(all));
  copy_tensors(of.files(), all, directory / "model.safetensors");
}

/// The config.json of half the width: what a family's sizes are called is known.
nlohmann::json half_width_json(const engine::Checkpoint& of) {
  nlohmann::json json = of.json();
  const engine::SizeKeys& keys = of.config().keys;
  for (const std::string* key : {&keys.hidden, &keys.intermediate, &keys.heads, &keys.kv_heads}) {
    if (key->empty() || !json.contains(*key) || !json[*key].is_number_integer()) continue;
    const Index size = json[*key].get<Index>();
    if (size % 2 != 0)
      throw pare::ArgumentError("half-width: " + *key + " " + std::to_string(size) + " is odd");
    json[*key] = size / 2;
  }
  return json;
}

using Shapes = std::map<std::string, std::vector<Index>>;

/// Of all tensors that a model of this configuration may have; biases included.
Shapes shapes_of(const engine::Checkpoint& of, const engine::ModelConfig& config) {
  Shapes shapes;
  const engine::TensorNames& names = config.names;
  const auto add_layer = [&](const std::string& name, pare::Shape<2> shape) {
    if (of.is_transposed(name)) std::swap(shape[0], shape[1]);
    shapes[name + ".weight"] = {shape[0], shape[1]};
    shapes[name + ".bias"] = {of.is_transposed(name) ? shape[1] : shape[0]};
  };
  const auto add_norm = [&](const std::string& name, Index size) {
    for (const std::string& part : {names.norm_weight, names.norm_bias})
      shapes[name + part] = {size};
  };
  for (Index b = 0; b < config.layers; ++b) {
    for (const auto& [name, size] : engine::norm_shapes(config, b)) add_norm(name, size);
    const auto& linears = config.block(b).linears;
    for (std::size_t i = 0; i < linears.size(); ++i)
      add_layer(config.linear_name(b, i), linears[i].shape);
  }
  add_layer(names.output, {config.vocab_size, config.hidden_size});
  shapes[names.root + names.embedding + ".weight"] = {config.vocab_size, config.hidden_size};
  if (!names.final_norm.empty()) add_norm(names.root + names.final_norm, config.hidden_size);
  return shapes;
}

void write_half_width(const engine::Checkpoint& of, const fs::path& directory, std::uint64_t seed) {
  const nlohmann::json json = half_width_json(of);
  const engine::ModelConfig config = engine::parse_config(json);
  const float deviation = json.value("initializer_range", 0.02f);
  const Shapes shapes = shapes_of(of, config);
  const engine::TensorNames& names = config.names;
  const float norm = config.norm.kind == engine::NormDescription::Kind::rms_plus_one ? 0.0f : 1.0f;
  pare::Random random(seed);
  std::vector<pare::NamedTensor> tensors;
  for (const std::string& name : of.tensors().names()) {
    const std::string positions = names.positions.empty() ? "" : names.root + names.positions;
    auto found = shapes.find(name);
    std::vector<Index> shape;
    if (found != shapes.end())
      shape = found->second;
    else if (name == positions)
      shape = {of.tensors().info(name).shape.front(), config.hidden_size};
    else
      throw pare::ArgumentError("half-width: " + name +
                                " is no tensor that config.json describes; make the student "
                                "yourself and give its directory");
    Index size = 1;
    for (const Index extent : shape) size *= extent;
    const bool is_bias = name.ends_with(".bias") || name.ends_with(names.norm_bias);
    const bool is_norm = !is_bias && shape.size() == 1;
    pare::NamedTensor tensor{name, pare::DType::F32, shape, {}};
    tensor.data.resize(static_cast<std::size_t>(size) * sizeof(float));
    for (Index i = 0; i < size; ++i) {
      const float value = is_bias ? 0.0f : is_norm ? norm : deviation * random.normal();
      std::memcpy(tensor.data.data() + static_cast<std::size_t>(i) * sizeof value, &value,
                  sizeof value);
    }
    tensors.push_back(std::move(tensor));
  }
  pare::write_json(directory / "config.json", json);
  pare::write_safetensors(directory / "model.safetensors", tensors);
}

void remove_tree(const fs::path& directory) {
  std::error_code ignored;
  fs::remove_all(directory, ignored);
}

}  // namespace

Student::Student(const std::string& kind, const engine::Checkpoint& of, const fs::path& out,
                 std::uint64_t seed)
    : directory_(kind) {
  if (kind != "half-depth" && kind != "half-width") return;
  directory_ = out.string() + ".student";
  if (fs::exists(directory_)) {
    // Left by a run that was killed; what others made is not touched.
    if (!fs::exists(directory_ / marker))
      throw pare::ArgumentError(directory_.string() +
                                ", where a student is kept while it trains, exists and is not of "
                                "pare: move it away");
    remove_tree(directory_);
  }
  std::error_code error;
  if (!fs::create_directory(directory_, error))
    throw pare::IoError(directory_.string() + ": cannot be made: " + error.message());
  is_own_ = true;
  try {
    pare::write_json(directory_ / marker, {{"student", kind}});
    if (kind == "half-depth")
      write_half_depth(of, directory_);
    else
      write_half_width(of, directory_, seed);
    for (const std::string_view text : text_file_names)
      if (const fs::path source = text_file_source(of.directory(), text); fs::exists(source))
        fs::copy_file(source, directory_ / text);
  } catch (...) {
    remove_tree(directory_);
    throw;
  }
}

Student::~Student() {
  if (is_own_) remove_tree(directory_);
}

}  // namespace cli
