#include "cli/output_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <exception>
#include <map>

#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_shards.hpp"

namespace cli {

namespace fs = std::filesystem;

namespace {

constexpr const char* manifest_name = "manifest.json";

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
  return resumes_ && fs::exists(shard_path(shard));
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
  checked(partial_, "cannot remove the manifest",
          [&](std::error_code& error) { fs::remove(partial_ / manifest_name, error); });
  const fs::path old = fs::path(out_) += ".replaced";
  if (replace_ && fs::exists(out_))
    checked(out_, "cannot be replaced", [&](std::error_code& error) {
      fs::remove_all(old, error);
      fs::rename(out_, old, error);
    });
  checked(out_, "cannot rename the finished directory",
          [&](std::error_code& error) { fs::rename(partial_, out_, error); });
  finished_ = true;
  std::error_code ignored;
  if (replace_) fs::remove_all(old, ignored);
}

}  // namespace cli
