#include "cli/output_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>

#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_shards.hpp"

namespace cli {

namespace fs = std::filesystem;

namespace {

/// Kept in the finished directory too: it says how the model was made, and removing it would make
/// the last steps of the work impossible to resume.
constexpr const char* manifest_name = "pare_manifest.json";

/// Runs a file system operation; its failure becomes an IoError naming `path`.
template <class F>
void checked(const fs::path& path, const char* failure, F&& f) {
  std::error_code error;
  f(error);
  if (error) throw pare::IoError(path.string() + ": " + failure + ": " + error.message());
}

}  // namespace

OutputDirectory::OutputDirectory(fs::path out, bool replace, const nlohmann::json& manifest,
                                 pare::Index shards)
    : out_(std::move(out)),
      replace_(replace),
      shards_(shards),
      exceptions_(std::uncaught_exceptions()) {
  if (!out_.has_filename()) out_ = out_.parent_path();
  if (out_.empty()) throw pare::ArgumentError("--out names no directory");
  partial_ = fs::path(out_) += ".partial";
  if (fs::exists(out_) && !replace_)
    throw pare::ArgumentError(out_.string() + " exists: choose another --out or add --force");
  if (fs::exists(out_) && !fs::exists(out_ / "config.json") &&
      !(fs::is_directory(out_) && fs::is_empty(out_)))
    throw pare::ArgumentError(out_.string() + " is no model: --force replaces only models");
  checked(partial_, "cannot create the directory",
          [&](std::error_code& error) { fs::create_directories(partial_, error); });
  // The lock is on the directory itself: it goes when this process does, however it ends.
  lock_ = ::open(partial_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0 || ::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (lock_ >= 0) ::close(lock_);
    throw pare::IoError(partial_.string() + ": another process is writing here");
  }
  try {
    prepare(manifest);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(partial_, ignored);
    ::close(lock_);
    throw;
  }
}

void OutputDirectory::prepare(const nlohmann::json& manifest) {
  const fs::path path = partial_ / manifest_name;
  try {
    resumes_ = fs::exists(path) && pare::read_json(path) == manifest;
  } catch (const pare::Error&) {
    resumes_ = false;  // an unreadable manifest is none
  }
  for (const auto& entry : fs::directory_iterator(partial_))
    if (!resumes_ || entry.path().extension() == ".tmp") fs::remove_all(entry.path());
  if (!resumes_) pare::write_json(path, manifest);
}

OutputDirectory::~OutputDirectory() {
  if (!finished_ && std::uncaught_exceptions() > exceptions_) {
    std::error_code ignored;
    fs::remove_all(partial_, ignored);
  }
  if (lock_ >= 0) ::close(lock_);
}

fs::path OutputDirectory::shard_path(pare::Index shard) const {
  return partial_ / pare::shard_name(shard, shards_);
}

bool OutputDirectory::has_shard(pare::Index shard) const {
  return has_file(pare::shard_name(shard, shards_));
}

bool OutputDirectory::has_file(const std::string& name) const {
  return resumes_ && fs::exists(file_path(name));
}

void OutputDirectory::finish() {
  std::map<std::string, std::string> file_of_tensor;
  std::uint64_t total_bytes = 0;
  for (pare::Index shard = 0; shard < shards_; ++shard) {
    const auto reader = pare::SafetensorsReader::open(shard_path(shard));
    for (const std::string& name : reader.names()) {
      file_of_tensor[name] = pare::shard_name(shard, shards_);
      total_bytes += reader.info(name).bytes.size();
    }
  }
  pare::write_safetensors_index(partial_ / "model.safetensors.index.json", file_of_tensor,
                                total_bytes);
  if (fs::exists(out_)) {
    // Both names change at once; what had the name before is then removed.
    if (::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, out_.c_str(), RENAME_EXCHANGE) != 0)
      throw pare::IoError(out_.string() + ": cannot be replaced: " + std::strerror(errno));
    finished_ = true;
    checked(partial_, "cannot remove the replaced model",
            [&](std::error_code& error) { fs::remove_all(partial_, error); });
  } else {
    checked(out_, "cannot rename the finished directory",
            [&](std::error_code& error) { fs::rename(partial_, out_, error); });
    finished_ = true;
  }
}

}  // namespace cli
