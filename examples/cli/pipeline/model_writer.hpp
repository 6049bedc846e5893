#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/output_directory.hpp"
#include "cli/pipeline/experts.hpp"
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
  /// Of a model that becomes smaller.
  struct Smaller {
    engine::ModelConfig config;
    nlohmann::json config_json;
    /// A file that says what was taken out: this, and under "edits" those of all blocks.
    std::string edits_file;
    nlohmann::json edits_header;
  };
  std::optional<Smaller> smaller{};
  /// New values of tensors outside blocks, for those that it knows: embeddings, the last norm.
  std::function<std::optional<pare::Matrix<float>>(const std::string& tensor)> other_values{};
};

inline constexpr const char* recipe_file_name = "pare_recipe.json";

/// Writes a model's blocks as they are finished: a shard each, one for the output layer, if that is
/// replaced, and one for everything else.
///
/// Experts of a block that are not in memory together wait in files of their own until the block's
/// shard takes them.
class ModelWriter final : public ExpertStore {
 public:
  ModelWriter(const Output& output, const engine::Checkpoint& checkpoint,
              bool replaces_output_layer);

  /// Blocks that an earlier run finished: the first ones.
  [[nodiscard]] Index finished_blocks() const;
  void round_as_stored(BlockInWork& work) const override;
  void write_block(const BlockInWork& work);
  /// A block written earlier, packed and ready to run; its experts are read when they are used.
  [[nodiscard]] engine::Block read_block(Index index) const;
  /// Until its block is written.
  void write_expert(const BlockInWork& expert, Index number) override;
  [[nodiscard]] engine::Block read_expert(Index block, Index number) const override;

  [[nodiscard]] bool has_output_layer() const { return directory_.has_shard(blocks_); }
  void write_output_layer(const engine::QuantizedLinear& linear);

  /// The rest of the model, its settings, and the directory's name.
  void finish();

  [[nodiscard]] const OutputDirectory& directory() const noexcept { return directory_; }

 private:
  /// What a file holds while it is made.
  struct Shard {
    std::vector<pare::NamedTensor> tensors;
    nlohmann::json layers = nlohmann::json::object();  // how those of pare's own files are stored
    nlohmann::json edits = nlohmann::json::array();    // what was taken out of the block
  };

  [[nodiscard]] pare::NamedTensor stored(const std::string& name,
                                         pare::MatrixView<const float> values,
                                         const std::string& like = {}) const;
  [[nodiscard]] pare::NamedTensor stored(const std::string& name, const pare::Vector<float>& values,
                                         const std::string& like = {}) const;
  void add_layer(const std::string& name, const engine::QuantizedLinear& linear,
                 Shard& shard) const;
  /// The float weight of a layer, as the checkpoint has it or with a mask.
  void add_weight(const std::string& name, pare::MatrixView<const float> values,
                  Shard& shard) const;
  void add_layers(const BlockInWork& work, Shard& shard) const;
  [[nodiscard]] engine::BlockSource source(const std::filesystem::path& file) const;
  [[nodiscard]] std::filesystem::path expert_path(Index block, Index expert) const;
  /// With all that is in `pieces`, which are removed.
  void write_shard(const std::filesystem::path& path, Shard shard,
                   const std::vector<std::filesystem::path>& pieces = {}) const;
  [[nodiscard]] nlohmann::json layers_of_shard(const pare::SafetensorsReader& reader) const;
  [[nodiscard]] std::vector<std::string> other_tensors() const;
  void write_other_tensors();
  void write_settings();
  void write_edits() const;
  [[nodiscard]] const engine::ModelConfig& config() const {
    return smaller_ ? smaller_->config : checkpoint_.config();
  }

  FileLayout layout_;
  nlohmann::json recipe_;
  std::optional<Output::Smaller> smaller_;
  std::function<std::optional<pare::Matrix<float>>(const std::string&)> other_values_;
  const engine::Checkpoint& checkpoint_;
  Index blocks_;
  bool replaces_output_layer_;
  Index compressed_shards_;
  OutputDirectory directory_;
};

}  // namespace cli
