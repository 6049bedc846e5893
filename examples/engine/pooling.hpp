#pragma once

#include <filesystem>

namespace engine {

/// How a sentence-transformers directory makes one vector of a text.
struct Pooling {
  bool by_mean = false;     ///< over the tokens that are seen
  bool normalizes = false;  ///< to length 1
};

/// From modules.json and the folders that it names; nothing where there is none.
///
/// Errors    IoError and FormatError naming the file
[[nodiscard]] Pooling read_pooling(const std::filesystem::path& directory);

}  // namespace engine
