#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "pare/core/error.hpp"
#include "pare/io/file_kind.hpp"

namespace pare {

namespace detail {

/// "path: cannot read: No such file or directory" from errno, or from `code`.
[[nodiscard]] inline IoError io_error(const std::filesystem::path& path, const char* failure,
                                      int code = errno) {
  return IoError(path.string() + ": " + failure + ": " +
                 std::system_category().default_error_condition(code).message());
}

}  // namespace detail

/// A whole file mapped read-only into memory (POSIX). Pages are read when first touched.
///
/// The file must not be truncated while it is mapped: touching a page that is gone ends the
/// program with SIGBUS. Replacing it by rename, as every writer here does, is safe.
class MappedFile {
 public:
  MappedFile() = default;

  /// Throws IoError when the path is not a regular file that can be read.
  explicit MappedFile(const std::filesystem::path& path) {
    // Opening a FIFO would wait for its writer.
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status {};
    const int opened = file < 0 ? errno : 0;
    if (file < 0 && (opened != ENXIO || ::stat(path.c_str(), &status) != 0))
      throw detail::io_error(path, "cannot open", opened);
    int failure = file < 0 || ::fstat(file, &status) == 0 ? 0 : errno;
    if (failure == 0 && !S_ISREG(status.st_mode)) {
      if (file >= 0) ::close(file);
      throw IoError(path.string() + ": this is " +
                    std::string(detail::file_type_name(status.st_mode)) + ", not a file");
    }
    if (failure == 0 && status.st_size > 0) {
      const auto size = static_cast<std::size_t>(status.st_size);
      void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
      if (address == MAP_FAILED)
        failure = errno;
      else
        bytes_ = {static_cast<const std::byte*>(address), size};
    }
    ::close(file);
    if (failure != 0) throw detail::io_error(path, "cannot read", failure);
  }

  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile() {
    if (!bytes_.empty()) ::munmap(address(), bytes_.size());
  }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

  /// Takes the pages out of this process's resident memory; the next access maps them again.
  void drop_pages() const noexcept {
    if (!bytes_.empty()) ::madvise(address(), bytes_.size(), MADV_DONTNEED);
  }

 private:
  [[nodiscard]] void* address() const noexcept { return const_cast<std::byte*>(bytes_.data()); }

  std::span<const std::byte> bytes_;
};

}  // namespace pare
