#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/io/file_kind.hpp"
#include "pare/io/file_name.hpp"
#include "pare/io/stored_tensor.hpp"

namespace pare {

namespace detail {

/// What a directory without readable weights holds instead: "; pytorch_model.bin is ...", or the
/// names that were found, or nothing.
[[nodiscard]] inline std::string describe_weights_found(const std::filesystem::path& directory) {
  namespace fs = std::filesystem;
  static constexpr std::array<std::string_view, 15> extensions{
      ".safetensors", ".bin", ".pt",  ".pth", ".ckpt",   ".gguf", ".ggml", ".onnx",
      ".h5",          ".npz", ".pkl", ".pb",  ".tflite", ".zip",  ".json"};
  std::vector<fs::path> found;
  std::error_code ignored;
  for (fs::directory_iterator entry(directory, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    const std::string extension = entry->path().extension().string();
    if (std::find(extensions.begin(), extensions.end(), extension) != extensions.end())
      found.push_back(entry->path());
  }
  std::sort(found.begin(), found.end());
  std::string names;
  std::size_t named = 0;
  for (const fs::path& path : found) {
    const std::string name = in_quotes(path.filename().string());
    if (!fs::exists(path, ignored)) return "; " + name + " is a link to a file that is missing";
    if (path.extension() == ".json") continue;
    if (!fs::is_regular_file(path, ignored)) continue;
    if (path.extension() != ".safetensors") {
      std::array<char, 512> head{};
      std::ifstream file(path, std::ios::binary);
      file.read(head.data(), head.size());
      const FileKind kind =
          file_kind(std::as_bytes(std::span(head).first(static_cast<std::size_t>(file.gcount()))));
      if (kind.known() && !kind.remedy.empty())
        return "; " + name + " is " + std::string(kind.name) + ": " + std::string(kind.remedy);
    }
    if (++named <= 4) names += (named == 1 ? "" : ", ") + name;
  }
  if (std::filesystem::exists(directory / "adapter_config.json", ignored))
    return "; it is an adapter (LoRA), not a model: merge it into its base model first";
  if (named > 4) names += " and " + std::to_string(named - 4) + " more";
  return named == 0 ? "" : "; found " + names;
}

}  // namespace detail

/// The file of a model's directory that holds its tensors, or the index of those that do:
/// <base_name>.safetensors or its index where the settings name one, model.safetensors,
/// model.safetensors.index.json, or whatever name the only index or safetensors file has.
///
/// Errors    IoError that says what was found instead
[[nodiscard]] inline std::filesystem::path weights_file(const std::filesystem::path& directory,
                                                        const std::string& base_name = {}) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  std::vector<std::string> bases{"model"};
  if (!base_name.empty() && is_file_name(base_name)) bases.insert(bases.begin(), base_name);
  for (const std::string& base : bases)
    for (const char* ending : {".safetensors", ".safetensors.index.json"})
      if (const fs::path file = directory / (base + ending); fs::exists(file, ignored)) return file;

  std::vector<fs::path> indexes, files;
  for (fs::directory_iterator entry(directory, ignored), end; !ignored && entry != end;
       entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    if (!fs::exists(entry->path(), ignored)) continue;
    if (name.ends_with(".safetensors.index.json")) indexes.push_back(entry->path());
    if (name.ends_with(".safetensors") && !name.starts_with("adapter_model"))
      files.push_back(entry->path());
  }
  if (indexes.size() == 1) return indexes.front();
  if (files.size() == 1) return files.front();
  throw IoError(
      directory.string() + ": holds neither model.safetensors nor model.safetensors.index.json" +
      (base_name.empty() ? "" : ", nor " + detail::in_quotes(base_name + ".safetensors")) +
      detail::describe_weights_found(directory));
}

}  // namespace pare
