#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "pare/core/error.hpp"

namespace cli {

/// A 64-bit fingerprint of bytes, to notice that inputs have changed; not against forgery.
class ContentHash {
 public:
  void add(std::span<const char> bytes) {
    while (bytes.size() >= 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data(), 8);
      mix(word);
      bytes = bytes.subspan(8);
    }
    std::uint64_t rest = bytes.size() + 1;
    for (const char c : bytes) rest = rest << 8 | static_cast<unsigned char>(c);
    mix(rest);
  }

  /// Reads a file in pieces, so that it does not become resident.
  void add_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw pare::IoError(path.string() + ": cannot open the file");
    std::vector<char> buffer(std::size_t{1} << 20);
    while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), file.gcount() > 0)
      add({buffer.data(), static_cast<std::size_t>(file.gcount())});
  }

  /// Name and content of every file that lies in a directory.
  void add_directory(const std::filesystem::path& directory) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      if (entry.is_regular_file()) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
      add(file.filename().string());
      add_file(file);
    }
  }

  [[nodiscard]] std::string hex() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(state_));
    return text;
  }

 private:
  /// One step of a multiply-and-fold hash with the odd constants of SplitMix64.
  void mix(std::uint64_t word) noexcept {
    state_ = (state_ ^ word) * 0xbf58476d1ce4e5b9u;
    state_ ^= state_ >> 29;
    state_ *= 0x94d049bb133111ebu;
    state_ ^= state_ >> 32;
  }

  std::uint64_t state_ = 0x9e3779b97f4a7c15u;
};

}  // namespace cli
