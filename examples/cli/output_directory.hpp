#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "cli/input_paths.hpp"
#include "pare/core/index.hpp"

namespace cli {

/// Where a command will write a directory. Made before the work, so that what is wrong with the
/// place is said at once: nothing is created or changed yet.
///
/// Only what pare made is ever replaced or removed; `pare_manifest.json` tells. A link counts as
/// the directory that it leads to and stays.
class OutputPath {
 public:
  /// Throws ArgumentError
  /// - when `out`, or OUT.partial beside it, where the work is done, is, contains or lies inside a
  ///   model that is read, or contains another input;
  /// - when `out` exists, unless `replace` is set and it is empty or holds a manifest;
  /// - when OUT.partial is something else than unfinished work;
  /// and IoError when nothing can be written there.
  OutputPath(const std::filesystem::path& out, bool replace, const InputPaths& inputs);

  [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }
  [[nodiscard]] const std::filesystem::path& partial() const noexcept { return partial_; }
  [[nodiscard]] bool replace() const noexcept { return replace_; }

  /// Prints a warning when the disk has no room for `bytes`, less those of unfinished work. An
  /// estimate may be wrong, and room may be made meanwhile: it is no error.
  void warn_if_no_room(std::uint64_t bytes) const;

 private:
  void check_existing() const;
  void check_replaceable() const;
  void check_partial() const;
  void check_writable() const;

  std::filesystem::path directory_, partial_;
  bool replace_;
};

/// What a training goes on from: finished work while it lasts, no part of the model.
inline constexpr const char* training_state_name = "training_state.safetensors";

/// A model directory in the making: shards and settings gather in OUT.partial, which is renamed to
/// OUT when complete.
///
/// A manifest in it (see manifest.hpp) says what the result depends on. However the work ends, by a
/// kill or by an error, what is finished stays, and work with the same manifest goes on there.
class OutputDirectory {
 public:
  /// Throws ArgumentError that says what differs when finished work depends on something else and
  /// `path.replace()` is not set; IoError when nothing can be written or another process is
  /// writing.
  OutputDirectory(OutputPath path, nlohmann::json manifest, pare::Index shards);
  /// When an exception ends the work, says in a line what stays; a directory without any finished
  /// work is removed.
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory&) = delete;
  OutputDirectory& operator=(const OutputDirectory&) = delete;

  /// True when earlier work was found that goes on.
  [[nodiscard]] bool resumes() const noexcept { return resumes_; }

  [[nodiscard]] std::filesystem::path shard_path(pare::Index shard) const;
  [[nodiscard]] bool has_shard(pare::Index shard) const;
  /// Where a piece of a shard waits until the shard is written: no finished work, a kill loses it.
  [[nodiscard]] std::filesystem::path piece_path(pare::Index shard, pare::Index piece) const;
  /// True when earlier work left the file.
  [[nodiscard]] bool has_file(const std::string& name) const;
  /// Where a further file of the model goes.
  [[nodiscard]] std::filesystem::path file_path(const std::string& name) const {
    return path_.partial() / name;
  }

  /// Writes the index of all shards and gives the directory its name. What it replaces is removed
  /// but for files that pare did not write: they keep their place.
  void finish();

 private:
  void lock();
  void prepare();
  void remove_incomplete() const;
  [[nodiscard]] bool has_finished_work() const;
  [[nodiscard]] std::string differences(const nlohmann::json& before) const;
  void write_index() const;
  void replace();

  OutputPath path_;
  nlohmann::json manifest_;
  pare::Index shards_;
  bool resumes_ = false;
  bool finished_ = false;
  int lock_ = -1;
  int exceptions_;
};

}  // namespace cli
