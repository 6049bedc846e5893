#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/output_directory.hpp"
#include "cli/pipeline/file_layout.hpp"
#include "cli/pipeline/step.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// What a finished model's directory is to be.
struct Output {
  OutputPath path;
  FileLayout layout;
  /// See manifest.hpp.
  nlohmann::json manifest;
  /// Saved as pare_recipe.json: with it the bytes can be made again.
  nlohmann::json recipe;
};

inline constexpr const char* recipe_file_name = "pare_recipe.json";

/// Writes a model's blocks as they are finished: a shard each, one for the output layer, if that is
/// replaced, and one for everything else.
class ModelWriter {
 public:
  ModelWriter(const Output& output, const engine::Checkpoint& checkpoint,
              bool replaces_output_layer);

  /// Blocks that an earlier run finished: the first ones.
  [[nodiscard]] Index finished_blocks() const;
  void write_block(const BlockInWork& work);
  /// A block written earlier, packed and ready to run.
  [[nodiscard]] engine::Block read_block(Index index) const;

  [[nodiscard]] bool has_output_layer() const { return directory_.has_shard(blocks_); }
  void write_output_layer(const engine::QuantizedLinear& linear);

  /// The rest of the model, its settings, and the directory's name.
  void finish();

 private:
  [[nodiscard]] pare::NamedTensor stored(const std::string& name,
                                         pare::MatrixView<const float> values) const;
  [[nodiscard]] pare::NamedTensor stored(const std::string& name,
                                         const pare::Vector<float>& values) const;
  void add_layer(const std::string& name, const engine::QuantizedLinear& linear,
                 std::vector<pare::NamedTensor>& tensors, nlohmann::json& layers) const;
  void write_shard(Index shard, const std::vector<pare::NamedTensor>& tensors,
                   const nlohmann::json& layers) const;
  [[nodiscard]] nlohmann::json layers_of_shard(const pare::SafetensorsReader& reader) const;
  [[nodiscard]] std::vector<std::string> other_tensors() const;
  void write_settings();

  FileLayout layout_;
  nlohmann::json recipe_;
  const engine::Checkpoint& checkpoint_;
  Index blocks_;
  bool replaces_output_layer_;
  Index compressed_shards_;
  OutputDirectory directory_;
};

}  // namespace cli
