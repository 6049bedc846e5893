#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/io/json.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace pare {

/// Name of shard `index` of `count`, from 0: "model-00001-of-00007.safetensors".
[[nodiscard]] inline std::string shard_name(Index index, Index count) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05lld-of-%05lld.safetensors",
                static_cast<long long>(index + 1), static_cast<long long>(count));
  return name;
}

/// Writes the `model.safetensors.index.json` that says which file of its directory holds which
/// tensor. `total_bytes` counts the tensors' data.
inline void write_safetensors_index(const std::filesystem::path& path,
                                    const std::map<std::string, std::string>& file_of_tensor,
                                    std::uint64_t total_bytes) {
  write_json(path, {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", file_of_tensor}});
}

/// Cuts tensors, in the order given, into runs of at most `shard_bytes`; a larger tensor gets a
/// shard of its own. Throws ArgumentError and ShapeError as SafetensorsWriter.
[[nodiscard]] inline std::vector<std::vector<TensorSpec>> cut_into_shards(
    const std::vector<TensorSpec>& specs, std::uint64_t shard_bytes) {
  (void)detail::place_tensors(specs);  // validates names and sizes over all shards
  std::vector<std::vector<TensorSpec>> shards(1);
  std::uint64_t filled = 0;
  for (const TensorSpec& spec : specs) {
    const std::uint64_t bytes = *detail::stored_bytes(spec.dtype, spec.shape);
    if (!shards.back().empty() && (bytes > shard_bytes || filled > shard_bytes - bytes)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(spec);
    filled += bytes;
  }
  return shards;
}

/// A SafetensorsWriter over as many files as needed, in a directory: `model.safetensors` alone, or
/// numbered shards and their index. The index is written last: without it there is no model.
class ShardedSafetensorsWriter {
 public:
  /// Throws as SafetensorsWriter; the directory must exist.
  ShardedSafetensorsWriter(std::filesystem::path directory, const std::vector<TensorSpec>& specs,
                           std::uint64_t shard_bytes, const SafetensorsMetadata& metadata = {})
      : directory_(std::move(directory)) {
    const auto shards = cut_into_shards(specs, shard_bytes);
    const auto count = static_cast<Index>(shards.size());
    for (const auto& shard : shards) {
      const std::string file =
          count == 1 ? "model.safetensors" : shard_name(static_cast<Index>(files_.size()), count);
      for (const TensorSpec& spec : shard) {
        total_bytes_ += *detail::stored_bytes(spec.dtype, spec.shape);
        file_of_tensor_.emplace(spec.name, file);
      }
      files_.emplace(file, SafetensorsWriter(directory_ / file, shard, metadata));
    }
  }

  /// As SafetensorsWriter::write.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    const auto found = file_of_tensor_.find(name);
    if (found == file_of_tensor_.end())
      throw ArgumentError("no tensor " + detail::in_quotes(name) + " was declared");
    files_.find(found->second)->second.write(name, bytes);
  }
  void write(const NamedTensor& tensor) { write(tensor.name, tensor.data); }

  void finish() {
    for (auto& [name, file] : files_) file.finish();
    if (files_.size() > 1)
      write_safetensors_index(directory_ / "model.safetensors.index.json",
                              {file_of_tensor_.begin(), file_of_tensor_.end()}, total_bytes_);
  }

 private:
  std::filesystem::path directory_;
  std::map<std::string, SafetensorsWriter, std::less<>> files_;
  std::map<std::string, std::string, std::less<>> file_of_tensor_;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace pare
