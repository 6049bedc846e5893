#pragma once

#include <fcntl.h>
#include <stdio.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "pare/core/error.hpp"

namespace cli {

enum class Replacement { exchange, two_renames };

/// Gives the directory `made` the name `name` of another one. Returns where that one is now: under
/// the name that `made` had, or under `spare`, which must be free, where the file system cannot
/// exchange two names. Until the new directory is in place the old one is whole, under its own name
/// or, if the process dies between the two renames, as `spare`.
/// Throws IoError; both directories are then where they were.
[[nodiscard]] inline std::filesystem::path replace_directory(
    const std::filesystem::path& made, const std::filesystem::path& name,
    const std::filesystem::path& spare, Replacement first = Replacement::exchange) {
  namespace fs = std::filesystem;
  const auto refuse = [&](const std::error_code& error) {
    throw pare::IoError(name.string() + ": cannot be replaced: " + error.message());
  };
  if (first == Replacement::exchange) {
    if (::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, name.c_str(), RENAME_EXCHANGE) == 0)
      return made;
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
      refuse({errno, std::generic_category()});
  }
  std::error_code error;
  if (fs::symlink_status(spare, error).type() != fs::file_type::not_found)
    throw pare::IoError(spare.string() + " is in the way: move it");
  fs::rename(name, spare, error);
  if (error) refuse(error);
  fs::rename(made, name, error);
  if (error) {
    std::error_code ignored;
    fs::rename(spare, name, ignored);
    refuse(error);
  }
  return spare;
}

}  // namespace cli
