#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "pare/io/file_name.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/weights_file.hpp"

namespace pare {

/// The tensors of a model: one safetensors file, or shards with an index.
///
/// Shards are mapped when first needed, which is why reading is not const: threads share one only
/// under the caller's lock.
/// Errors    IoError and FormatError naming the file, as SafetensorsReader
class SafetensorsCollection {
 public:
  /// `path` is a safetensors file, an index (`*.json`), or a directory with one of them, for which
  /// see weights_file.
  [[nodiscard]] static SafetensorsCollection open(const std::filesystem::path& path,
                                                  const std::string& base_name = {}) {
    std::error_code ignored;
    const bool is_directory = std::filesystem::is_directory(path, ignored);
    const std::filesystem::path file = is_directory ? weights_file(path, base_name) : path;
    return file.extension() == ".json" ? from_index(file) : from_file(file);
  }

  /// In file order, or sorted when there is an index.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
  [[nodiscard]] bool contains(std::string_view name) const { return shard_of_.contains(name); }

  /// Of the first file.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() {
    return opened(shards_.begin()->first).metadata();
  }
  /// Valid as long as the collection. Throws FormatError when there is no such tensor.
  [[nodiscard]] const TensorInfo& info(std::string_view name) { return holder(name).info(name); }

  /// See to_matrix, to_vector, elements_as.
  [[nodiscard]] Matrix<float> read_matrix(std::string_view name) {
    return holder(name).read_matrix(name);
  }
  [[nodiscard]] Vector<float> read_vector(std::string_view name) {
    return holder(name).read_vector(name);
  }
  template <class T>
  [[nodiscard]] std::vector<T> read_as(std::string_view name) {
    return holder(name).template read_as<T>(name);
  }

  /// Takes the pages of all files out of resident memory; what is read later is mapped again.
  void drop_pages() const noexcept {
    for (const auto& [name, shard] : shards_)
      if (shard) shard->drop_pages();
  }

 private:
  SafetensorsCollection() = default;

  [[nodiscard]] static SafetensorsCollection from_file(const std::filesystem::path& path) {
    SafetensorsCollection result;
    result.path_ = path;
    const std::string file = path.filename().string();
    const auto& reader = result.shards_[file].emplace(SafetensorsReader::open(path));
    result.names_ = reader.names();
    for (const std::string& name : result.names_) result.shard_of_.emplace(name, file);
    return result;
  }

  [[nodiscard]] static SafetensorsCollection from_index(const std::filesystem::path& path) {
    SafetensorsCollection result;
    result.path_ = path;
    const nlohmann::json index = read_json(path);
    with_context(path.string(), [&] {
      const nlohmann::json* map = find_field(index, {"weight_map"});
      if (!map || !map->is_object() || map->empty())
        throw FormatError("\"weight_map\" is missing, empty or no object");
      for (const auto& [name, value] : map->items()) {
        if (!value.is_string())
          throw FormatError("the file of tensor " + detail::in_quotes(name) + " is no string");
        const auto file = value.get<std::string>();
        if (result.shards_.try_emplace(file).second) result.check_shard(file);
        result.names_.push_back(name);
        result.shard_of_.emplace(name, file);
      }
    });
    return result;
  }

  /// A shard lies beside its index.
  void check_shard(const std::string& file) const {
    if (!is_file_name(file))
      throw FormatError("shard " + detail::in_quotes(file) + " is not the name of a file");
    std::error_code ignored;
    if (!std::filesystem::exists(path_.parent_path() / file, ignored))
      throw IoError("shard " + detail::in_quotes(file) + " is missing");
  }

  [[nodiscard]] SafetensorsReader& holder(std::string_view name) {
    const auto found = shard_of_.find(name);
    if (found == shard_of_.end())
      throw FormatError(path_.string() + ": no tensor named " + detail::in_quotes(name));
    return opened(found->second);
  }

  [[nodiscard]] SafetensorsReader& opened(const std::string& file) {
    auto& shard = shards_.at(file);
    if (shard) return *shard;
    auto reader = SafetensorsReader::open(path_.parent_path() / file);
    for (const auto& [name, in_file] : shard_of_)
      if (in_file == file && !reader.contains(name))
        throw FormatError(path_.string() + ": tensor " + detail::in_quotes(name) +
                          " is not in shard " + detail::in_quotes(file));
    return shard.emplace(std::move(reader));
  }

  std::filesystem::path path_;
  std::vector<std::string> names_;
  std::map<std::string, std::string, std::less<>> shard_of_;
  std::map<std::string, std::optional<SafetensorsReader>> shards_;
};

}  // namespace pare
