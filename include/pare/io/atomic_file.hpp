#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "pare/io/mapped_file.hpp"

namespace pare {

/// A file that appears under its name only when complete (POSIX).
///
/// Bytes go to a temporary file in the same directory; commit() forces them to the disk and renames
/// it. Without commit() the destructor removes it and whatever had the name before stays.
class AtomicFile {
 public:
  /// Throws IoError when the directory cannot be written to.
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
    for (int attempt = 0; file_ < 0; ++attempt) {
      temporary_ = path_;
      temporary_ += "." + std::to_string(::getpid()) + "-" + std::to_string(attempt) + ".tmp";
      file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ < 0 && errno != EEXIST) throw detail::io_error(path_, "cannot create");
    }
  }

  AtomicFile(AtomicFile&& other) noexcept
      : path_(std::move(other.path_)),
        temporary_(std::move(other.temporary_)),
        file_(std::exchange(other.file_, -1)) {}
  AtomicFile& operator=(AtomicFile&&) = delete;

  ~AtomicFile() {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(temporary_.c_str());
  }

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  /// Throws IoError, also when the disk is full.
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ::ssize_t written =
          ::pwrite(file_, bytes.data(), bytes.size(), static_cast<::off_t>(offset));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) throw detail::io_error(path_, "cannot write", written < 0 ? errno : ENOSPC);
      offset += static_cast<std::uint64_t>(written);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  /// The last call: nothing may be written after it. Throws IoError; the name is then untouched.
  void commit() {
    if (::fsync(file_) != 0) throw detail::io_error(path_, "cannot write");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
      throw detail::io_error(path_, "cannot rename the temporary file");
    ::close(std::exchange(file_, -1));
    sync_directory();
  }

 private:
  /// Makes the new name itself survive a power cut; a file system that cannot is not an error.
  void sync_directory() const noexcept {
    const std::filesystem::path parent = path_.parent_path();
    const int directory =
        ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    (void)::fsync(directory);
    ::close(directory);
  }

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int file_ = -1;
};

/// The file name that a temporary one of AtomicFile is for ("a" for "a.123-0.tmp"); empty for any
/// other name.
[[nodiscard]] inline std::string_view atomic_file_target(std::string_view name) noexcept {
  const auto drop_number = [&](char before) {
    const std::size_t digits = name.size() - (name.find_last_not_of("0123456789") + 1);
    if (digits == 0 || digits == name.size()) return false;
    name.remove_suffix(digits);
    if (name.back() != before) return false;
    name.remove_suffix(1);
    return true;
  };
  if (!name.ends_with(".tmp")) return {};
  name.remove_suffix(4);
  return drop_number('-') && drop_number('.') ? name : std::string_view();
}

/// Writes a whole file at once, or leaves things as they were and throws IoError.
inline void write_file(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write_at(0, bytes);
  file.commit();
}
inline void write_file(const std::filesystem::path& path, std::string_view text) {
  write_file(path, std::as_bytes(std::span(text)));
}

}  // namespace pare
