#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/pipeline/layer.hpp"
#include "engine/model_files.hpp"

namespace cli {

/// A directory of safetensors whose family is not known, or that has no config.json: what can be
/// done with matrices alone.
class PlainModel {
 public:
  /// Nothing where `directory` is a model of a known family, or none that could be read.
  [[nodiscard]] static std::optional<PlainModel> open(const std::filesystem::path& directory);

  [[nodiscard]] engine::ModelFiles files() const noexcept { return {directory_, tensors_}; }
  /// What config.json says the model is; empty without one.
  [[nodiscard]] const std::string& type() const noexcept { return type_; }
  /// The settings of quantized layers, null where there are none.
  [[nodiscard]] const nlohmann::json& settings() const noexcept { return settings_; }

  /// Layers: two-dimensional tensors NAME.weight in F32, F16 or BF16, in order. Those that stand
  /// in blocks (names equal but for one number occur at least twice), are at least 32 wide and high
  /// and whose names do not speak of embeddings, norms, routers, gates or heads are quantized
  /// unless a rule says otherwise; the others are left.
  [[nodiscard]] std::vector<LayerShape> layers() const;

 private:
  PlainModel(std::filesystem::path directory, std::string type, nlohmann::json settings,
             pare::SafetensorsCollection tensors)
      : directory_(std::move(directory)),
        type_(std::move(type)),
        settings_(std::move(settings)),
        tensors_(std::move(tensors)) {}

  std::filesystem::path directory_;
  std::string type_;
  nlohmann::json settings_;
  mutable pare::SafetensorsCollection tensors_;
};

}  // namespace cli
