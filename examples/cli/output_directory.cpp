#include "cli/output_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "cli/manifest.hpp"
#include "cli/replace_directory.hpp"
#include "pare/io/json.hpp"
#include "pare/io/packed_header.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_shards.hpp"

namespace cli {

namespace fs = std::filesystem;

namespace {

/// Runs a file system operation; its failure becomes an IoError naming `path`.
template <class F>
void checked(const fs::path& path, const char* failure, F&& f) {
  std::error_code error;
  f(error);
  if (error) throw pare::IoError(path.string() + ": " + failure + ": " + error.message());
}

/// Of the path itself, not of what a link leads to.
fs::file_type type_of(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type();
}

bool is_there(const fs::path& path) { return type_of(path) != fs::file_type::not_found; }

fs::path beside(const fs::path& directory, const char* suffix) {
  return fs::path(directory) += suffix;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  checked(directory, "cannot be read", [&](std::error_code& error) {
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error))
      names.push_back(entry->path().filename().string());
  });
  std::sort(names.begin(), names.end());
  return names;
}

bool holds_manifest(const fs::path& directory) {
  return type_of(directory / manifest_name) == fs::file_type::regular;
}

/// A file whose presence says that a part of the work is done.
bool is_part(std::string_view name) {
  return (name.starts_with("model-") && name.ends_with(".safetensors")) ||
         name == training_state_name ||
         ((name.starts_with("block-") || name.starts_with("output-layer")) &&
          name.ends_with(".pack"));
}

/// A file that a shard takes in when it is written.
bool is_piece(std::string_view name) {
  return name.starts_with("piece-") && name.ends_with(".safetensors");
}

/// A name that pare gives to what it writes into its directories.
bool is_own_name(std::string_view name) {
  if (const std::string_view target = pare::atomic_file_target(name); !target.empty())
    name = target;
  return is_part(name) || is_piece(name) ||
         (is_model_file(name) && !name.ends_with(".safetensors"));
}

/// What pare wrote into a directory with a manifest, as the manifest of a finished one says.
std::set<std::string> own_files(const fs::path& directory) {
  std::set<std::string> listed;
  try {
    const nlohmann::json manifest = pare::read_json(directory / manifest_name);
    if (manifest.is_object() && manifest.contains("files"))
      listed = manifest.at("files").get<std::set<std::string>>();
  } catch (const std::exception&) {
    listed.clear();  // an unreadable list is none
  }
  std::set<std::string> own;
  for (const std::string& name : names_in(directory))
    if ((listed.empty() ? is_own_name(name) : listed.contains(name)) &&
        !fs::is_directory(fs::symlink_status(directory / name)))
      own.insert(name);
  return own;
}

/// The manifest last: until then the directory can be told to be ours.
void remove_files(const fs::path& directory, const std::set<std::string>& names) {
  const auto remove = [&](const std::string& name) {
    checked(directory / name, "cannot be removed",
            [&](std::error_code& error) { fs::remove(directory / name, error); });
  };
  for (const std::string& name : names)
    if (name != manifest_name) remove(name);
  if (names.contains(manifest_name)) remove(manifest_name);
}

[[noreturn]] void refuse_foreign(const fs::path& file) {
  throw pare::ArgumentError(file.string() +
                            " would become a part of the new model, but pare did not write it: "
                            "move it away or choose another --out");
}

/// Opens and locks a directory for this process, however it ends; -1 when another one has it.
int lock_directory(const fs::path& directory) {
  const int file = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file >= 0 && ::flock(file, LOCK_EX | LOCK_NB) != 0) {
    ::close(file);
    return -1;
  }
  return file;
}

/// Whether `file` is still what the name leads to: it may have been renamed before it was locked.
bool is_open_directory(int file, const fs::path& name) {
  struct ::stat open {
  }, named{};
  return ::fstat(file, &open) == 0 && ::lstat(name.c_str(), &named) == 0 &&
         open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

}  // namespace

OutputPath::OutputPath(const fs::path& out, bool replace, const InputPaths& inputs)
    : directory_(out), replace_(replace) {
  if (!directory_.has_filename()) directory_ = directory_.parent_path();
  const fs::path name = directory_.filename();
  if (name.empty()) throw pare::ArgumentError("--out names no directory");
  if (name == "." || name == ".." || type_of(directory_) == fs::file_type::symlink) {
    std::error_code error;
    directory_ = fs::canonical(directory_, error);
    if (error)
      throw pare::ArgumentError("--out " + out.string() +
                                " is a link that leads nowhere: choose another --out");
    if (!directory_.has_filename()) throw pare::ArgumentError("--out names no directory");
  }
  partial_ = beside(directory_, ".partial");
  inputs.require_apart(directory_);
  inputs.require_apart(partial_);
  check_existing();
  check_partial();
  check_writable();
}

void OutputPath::check_existing() const {
  if (!is_there(directory_)) return;
  const std::string name = directory_.string();
  if (type_of(directory_) != fs::file_type::directory)
    throw pare::ArgumentError(name + " exists and is no directory: choose another --out");
  const std::vector<std::string> names = names_in(directory_);
  if (!names.empty() && !holds_manifest(directory_))
    throw pare::ArgumentError(name + " exists and pare did not make it (it holds no " +
                              manifest_name +
                              "): choose another --out; --force would not replace it");
  if (!replace_) throw pare::ArgumentError(name + " exists: choose another --out or add --force");
  check_replaceable();
  const std::set<std::string> own = own_files(directory_);
  for (const std::string& file : names)
    if (is_model_file(file) && !own.contains(file)) refuse_foreign(directory_ / file);
}

/// What the exchange of names at the end would fail at.
void OutputPath::check_replaceable() const {
  const std::string name = directory_.string();
  struct ::stat itself {
  }, parent{};
  std::error_code error;
  const fs::path above = fs::absolute(directory_, error).parent_path();
  if (::stat(directory_.c_str(), &itself) == 0 && ::stat(above.c_str(), &parent) == 0 &&
      itself.st_dev != parent.st_dev)
    throw pare::ArgumentError(name +
                              " is where a file system is mounted, and cannot be replaced: choose "
                              "an --out inside it");
  if (::access(directory_.c_str(), R_OK | W_OK | X_OK) != 0)
    throw pare::IoError(name + " cannot be replaced: " + std::generic_category().message(errno));
}

void OutputPath::check_partial() const {
  if (!is_there(partial_)) return;
  const auto refuse = [&](const std::string& why) {
    throw pare::ArgumentError(partial_.string() + ", where the work would be done, " + why +
                              ": move it away or choose another --out");
  };
  if (type_of(partial_) == fs::file_type::symlink) refuse("is a link");
  if (type_of(partial_) != fs::file_type::directory) refuse("is no directory");
  if (holds_manifest(partial_)) return;
  // A kill may come before the manifest has its name.
  for (const std::string& name : names_in(partial_))
    if (pare::atomic_file_target(name) != manifest_name)
      refuse("holds files that pare did not write (" + name + " without a " + manifest_name + ")");
}

void OutputPath::check_writable() const {
  std::error_code error;
  fs::path place = fs::absolute(partial_, error);
  while (!is_there(place) && place != place.parent_path()) place = place.parent_path();
  if (!fs::is_directory(place, error))
    throw pare::IoError("--out " + directory_.string() + ": " + place.string() +
                        " is no directory");
  for (const fs::path& directory : {place, place == partial_ ? place.parent_path() : place})
    if (::access(directory.c_str(), W_OK | X_OK) != 0)
      throw pare::IoError("--out " + directory_.string() + ": cannot write to " +
                          directory.string() + ": " + std::generic_category().message(errno));
}

void OutputPath::warn_if_no_room(std::uint64_t bytes) const {
  std::error_code error;
  std::uint64_t written = 0;
  if (is_there(partial_))
    for (const std::string& name : names_in(partial_))
      if (const auto size = fs::file_size(partial_ / name, error); !error) written += size;
  fs::path place = fs::absolute(partial_, error);
  while (!is_there(place) && place != place.parent_path()) place = place.parent_path();
  const fs::space_info space = fs::space(place, error);
  const std::uint64_t needed = bytes - std::min(bytes, written);
  if (error || needed <= space.available) return;
  std::fprintf(stderr, "warning: %s needs about %.1f MB, the disk has room for %.1f MB\n",
               directory_.string().c_str(), static_cast<double>(needed) / 1e6,
               static_cast<double>(space.available) / 1e6);
}

OutputDirectory::OutputDirectory(OutputPath path, nlohmann::json manifest, pare::Index shards)
    : path_(std::move(path)),
      manifest_(std::move(manifest)),
      shards_(shards),
      exceptions_(std::uncaught_exceptions()) {
  lock();
  try {
    prepare();
  } catch (...) {
    ::close(lock_);
    throw;
  }
}

void OutputDirectory::lock() {
  const fs::path& partial = path_.partial();
  checked(partial, "cannot create the directory",
          [&](std::error_code& error) { fs::create_directories(partial, error); });
  lock_ = lock_directory(partial);
  if (lock_ >= 0 && is_open_directory(lock_, partial)) return;
  if (lock_ >= 0) ::close(lock_);
  throw pare::IoError(partial.string() + ": another process is writing here");
}

/// Decides what becomes of earlier work. Until it is removed its manifest stays: a kill at any
/// moment leaves either of the two with what belongs to it.
void OutputDirectory::prepare() {
  for (const std::string& name : names_in(path_.partial()))
    if (is_model_file(name) && !is_own_name(name)) refuse_foreign(path_.partial() / name);
  const fs::path manifest = file_path(manifest_name);
  if (is_there(manifest)) {
    std::string why;
    try {
      why = differences(pare::read_json(manifest));
    } catch (const pare::Error& error) {
      why = error.what();
    }
    resumes_ = why.empty();
    if (!resumes_ && has_finished_work()) {
      if (!path_.replace())
        throw pare::ArgumentError(path_.partial().string() + " holds finished work, but " + why +
                                  ": use the same options and files, another --out, or --force "
                                  "to start over");
      std::fprintf(stderr, "note: starting over: %s\n", why.c_str());
    }
  }
  if (resumes_) {
    remove_incomplete();
  } else {
    std::set<std::string> old;
    for (const std::string& name : names_in(path_.partial()))
      if (is_own_name(name) && name != manifest_name) old.insert(name);
    remove_files(path_.partial(), old);
  }
  pare::write_json(manifest, manifest_);
}

/// What a kill or a failing disk left half done.
void OutputDirectory::remove_incomplete() const {
  std::set<std::string> incomplete;
  for (const std::string& name : names_in(path_.partial())) {
    if ((is_own_name(name) && !pare::atomic_file_target(name).empty()) || is_piece(name))
      incomplete.insert(name);
    if (!is_part(name)) continue;
    try {
      if (name.ends_with(".pack"))
        (void)pare::PackedHeader::parse(pare::MappedFile(file_path(name)).bytes());
      else
        (void)pare::SafetensorsReader::open(file_path(name));
    } catch (const pare::Error&) {
      std::fprintf(stderr, "note: %s is damaged and is made again\n",
                   file_path(name).string().c_str());
      incomplete.insert(name);
    }
  }
  remove_files(path_.partial(), incomplete);
}

bool OutputDirectory::has_finished_work() const {
  const std::vector<std::string> names = names_in(path_.partial());
  return std::any_of(names.begin(), names.end(), is_part);
}

/// What finished work depends on that is not so now; empty when it can be gone on with.
std::string OutputDirectory::differences(const nlohmann::json& before) const {
  if (!before.is_object()) return std::string(manifest_name) + " is no JSON object";
  const auto is_finished = [&](const std::string& layer) {
    for (const std::string& name : names_in(path_.partial())) {
      if (!is_part(name) || name.ends_with(".pack")) continue;
      const auto reader = pare::SafetensorsReader::open(file_path(name));
      for (const std::string& tensor : reader.names())
        if (tensor.starts_with(layer + ".")) return true;
    }
    return false;
  };
  constexpr int most = 4;  // more make no line that anyone reads
  int count = 0;
  std::string text;
  for (const ManifestDifference& difference : manifest_differences(before, manifest_)) {
    if (difference.path.size() == 2 && difference.path[0] == "layers" &&
        !is_finished(difference.path[1]))
      continue;
    if (++count <= most) text += (text.empty() ? "" : ", ") + difference.text();
  }
  if (count > most) text += " and " + std::to_string(count - most) + " more";
  return text;
}

OutputDirectory::~OutputDirectory() {
  if (!finished_ && std::uncaught_exceptions() > exceptions_) {
    try {
      if (has_finished_work()) {
        std::fprintf(stderr, "finished work stays in %s: the same command goes on\n",
                     path_.partial().string().c_str());
      } else {
        remove_files(path_.partial(), own_files(path_.partial()));
        std::error_code ignored;
        fs::remove(path_.partial(), ignored);  // unless there is more
      }
    } catch (const std::exception&) {  // the first error is the one to report
    }
  }
  if (lock_ >= 0) ::close(lock_);
}

fs::path OutputDirectory::shard_path(pare::Index shard) const {
  return file_path(pare::shard_name(shard, shards_));
}

fs::path OutputDirectory::piece_path(pare::Index shard, pare::Index piece) const {
  return file_path("piece-" + std::to_string(piece) + "-of-" + pare::shard_name(shard, shards_));
}

bool OutputDirectory::has_shard(pare::Index shard) const {
  return has_file(pare::shard_name(shard, shards_));
}

bool OutputDirectory::has_file(const std::string& name) const {
  return resumes_ && is_there(file_path(name));
}

void OutputDirectory::finish() {
  if (is_there(file_path(training_state_name)))
    remove_files(path_.partial(), {training_state_name});
  write_index();
  manifest_["files"] = nlohmann::json::array();
  for (const std::string& name : names_in(path_.partial()))
    if (is_own_name(name)) manifest_["files"].push_back(name);
  pare::write_json(file_path(manifest_name), manifest_);
  if (is_there(path_.directory())) return replace();
  checked(path_.directory(), "cannot rename the finished directory",
          [&](std::error_code& error) { fs::rename(path_.partial(), path_.directory(), error); });
  finished_ = true;
}

void OutputDirectory::write_index() const {
  std::map<std::string, std::string> file_of_tensor;
  std::uint64_t total_bytes = 0;
  for (pare::Index shard = 0; shard < shards_; ++shard) {
    const auto reader = pare::SafetensorsReader::open(shard_path(shard));
    for (const std::string& name : reader.names()) {
      file_of_tensor[name] = pare::shard_name(shard, shards_);
      total_bytes += reader.info(name).bytes.size();
    }
  }
  pare::write_safetensors_index(file_path("model.safetensors.index.json"), file_of_tensor,
                                total_bytes);
}

void OutputDirectory::replace() {
  const fs::path& directory = path_.directory();
  // It may have been made or filled since the work began.
  if (!path_.replace() || (!fs::is_empty(directory) && !holds_manifest(directory)))
    throw pare::ArgumentError(directory.string() + " has appeared meanwhile: move it away");
  const int old_lock = lock_directory(directory);
  if (old_lock < 0) throw pare::IoError(directory.string() + ": another process is using it");
  const std::set<std::string> own = own_files(directory);
  checked(path_.partial(), "cannot get the permissions of what it replaces",
          [&](std::error_code& error) {
            const fs::perms permissions = fs::status(directory, error).permissions();
            if (!error) fs::permissions(path_.partial(), permissions, error);
          });
  const fs::path old =
      replace_directory(path_.partial(), directory, beside(directory, ".replaced"));
  finished_ = true;
  for (const std::string& name : names_in(old)) {
    if (own.contains(name) || is_there(directory / name)) continue;
    checked(old / name, "cannot be moved into the new directory",
            [&](std::error_code& error) { fs::rename(old / name, directory / name, error); });
    std::fprintf(stderr, "note: %s stays: pare did not write it\n",
                 (directory / name).string().c_str());
  }
  remove_files(old, own);
  checked(old, "cannot remove the replaced directory",
          [&](std::error_code& error) { fs::remove(old, error); });
  ::close(old_lock);
}

}  // namespace cli
