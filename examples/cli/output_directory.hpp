#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "pare/core/index.hpp"

namespace cli {

/// A model directory in the making: shards and settings gather in OUT.partial, which is renamed to
/// OUT when complete.
///
/// A manifest in it says what the result depends on. After a kill, work with the same manifest goes
/// on where it stopped; with another one it starts afresh. When an exception ends the work, the
/// partial directory is removed.
class OutputDirectory {
 public:
  /// Throws ArgumentError when `out` exists and `replace` is not set, IoError when it cannot be
  /// written or another process is writing it.
  OutputDirectory(std::filesystem::path out, bool replace, const nlohmann::json& manifest,
                  pare::Index shards);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  /// True when earlier work with the same manifest was found.
  [[nodiscard]] bool resumes() const noexcept { return resumes_; }

  [[nodiscard]] std::filesystem::path shard_path(pare::Index shard) const;
  [[nodiscard]] bool has_shard(pare::Index shard) const;
  /// True when earlier work with the same manifest left the file.
  [[nodiscard]] bool has_file(const std::string& name) const;
  /// Where a further file of the model goes.
  [[nodiscard]] std::filesystem::path file_path(const std::string& name) const {
    return partial_ / name;
  }

  /// Writes the index of all shards and gives the directory its name.
  void finish();

 private:
  void prepare(const nlohmann::json& manifest);

  std::filesystem::path out_, partial_;
  bool replace_;
  pare::Index shards_;
  bool resumes_ = false;
  bool finished_ = false;
  int lock_ = -1;
  int exceptions_;
};

}  // namespace cli
