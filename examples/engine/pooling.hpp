#pragma once

#include <filesystem>

namespace engine {

/// How a sentence-transformers directory makes one vector of a text.
struct Pooling {
  bool by_mean = false;     ///< over the tokens that are seen
  bool normalizes = false;  ///< to length 1
};

/// Where such a directory has the settings, and what they are called in directories without
/// folders.
inline constexpr const char* pooling_file = "1_Pooling/config.json";
inline constexpr const char* flat_pooling_name = "1_Pooling_config.json";

/// From modules.json and the folders that it names; nothing where there is none.
///
/// Errors    IoError and FormatError naming the file
[[nodiscard]] Pooling read_pooling(const std::filesystem::path& directory);

}  // namespace engine
