#pragma once

#include <filesystem>

#include "pare/io/safetensors_collection.hpp"

namespace engine {

/// The files of a model, whatever its family: its directory and its tensors.
struct ModelFiles {
  const std::filesystem::path& directory;
  pare::SafetensorsCollection& tensors;

  /// Gives mapped memory back.
  void release_pages() const { tensors.drop_pages(); }
};

}  // namespace engine
