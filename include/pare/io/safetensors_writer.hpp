#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/io/atomic_file.hpp"
#include "pare/io/safetensors_header.hpp"
#include "pare/io/stored_tensor.hpp"

namespace pare {

using SafetensorsMetadata = std::map<std::string, std::string>;

namespace detail {

[[nodiscard]] inline std::string json_text(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw ArgumentError("not valid UTF-8: " + in_quotes(text));
  }
}

/// Orders tensors as every writer does, widest type first and then by name, so that each is
/// aligned to its type, and gives them their places.
[[nodiscard]] inline std::vector<SafetensorsHeader::Entry> place_tensors(
    const std::vector<TensorSpec>& specs) {
  std::vector<SafetensorsHeader::Entry> entries;
  for (const TensorSpec& spec : specs) entries.push_back({spec, 0, 0});
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  std::map<std::string_view, int> seen;
  std::uint64_t position = 0;
  for (auto& entry : entries) {
    if (entry.name == "__metadata__" || seen[entry.name]++ > 0)
      throw ArgumentError("tensor name " + in_quotes(entry.name) + " is reserved or given twice");
    const bool negative = std::any_of(entry.shape.begin(), entry.shape.end(),
                                      [](Index extent) { return extent < 0; });
    const auto bytes = negative ? std::nullopt : stored_bytes(entry.dtype, entry.shape);
    if (!bytes || *bytes > std::uint64_t{1} << 62 || position > std::uint64_t{1} << 62)
      throw ShapeError("tensor " + in_quotes(entry.name) + " of shape " + to_string(entry.shape) +
                       " cannot be stored as " + std::string(to_string(entry.dtype)));
    entry.begin = position;
    entry.end = position += *bytes;
  }
  return entries;
}

/// The bytes before the data: length and JSON, padded so that the data is aligned to 8.
[[nodiscard]] inline std::string safetensors_head(std::span<const SafetensorsHeader::Entry> entries,
                                                  const SafetensorsMetadata& metadata) {
  std::string json = "{";
  if (!metadata.empty()) json += "\"__metadata__\":" + nlohmann::json(metadata).dump();
  for (const auto& entry : entries) {
    json += (json.size() > 1 ? "," : "") + json_text(entry.name) + ":{\"dtype\":\"" +
            std::string(to_string(entry.dtype)) + "\",\"shape\":[";
    for (std::size_t d = 0; d < entry.shape.size(); ++d)
      json += (d ? "," : "") + std::to_string(entry.shape[d]);
    json += "],\"data_offsets\":[" + std::to_string(entry.begin) + "," + std::to_string(entry.end) +
            "]}";
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > SafetensorsHeader::largest_json_bytes)
    throw ArgumentError("the names of the tensors exceed the header's limit");
  std::string head;
  for (int shift = 0; shift < 64; shift += 8)
    head += static_cast<char>(static_cast<std::uint64_t>(json.size()) >> shift & 0xff);
  return head + json;
}

[[nodiscard]] inline SafetensorsMetadata with_pt_format(SafetensorsMetadata metadata) {
  for (const auto& [key, value] : metadata) (void)json_text(key), (void)json_text(value);
  metadata.emplace("format", "pt");  // without it transformers refuses the file
  return metadata;
}

}  // namespace detail

/// Writes a safetensors file that need not fit in memory.
///
///     SafetensorsWriter file("model.safetensors", {{"w", DType::F16, {rows, cols}}, ...});
///     file.write("w", first_rows);
///     file.write("w", other_rows);
///     file.finish();
///
/// Tensors are declared first; then their data comes in pieces, tensors in any order, the bytes of
/// one tensor in order. The file appears under its name in finish(); see AtomicFile.
/// Errors    ArgumentError for a name that is doubled, reserved or not UTF-8; ShapeError for a
///           shape without a size and for data that does not match its shape; IoError
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorSpec>& specs,
                    SafetensorsMetadata metadata = {})
      : SafetensorsWriter(detail::place_tensors(specs), path, std::move(metadata)) {}

  /// Appends to the tensor's data.
  void write(std::string_view name, std::span<const std::byte> bytes) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end())
      throw ArgumentError("no tensor " + detail::in_quotes(name) + " was declared");
    Progress& tensor = found->second;
    if (bytes.size() > tensor.end - tensor.position)
      throw ShapeError("tensor " + detail::in_quotes(name) + " gets " +
                       std::to_string(bytes.size() - (tensor.end - tensor.position)) +
                       " bytes more than its shape has");
    file_.write_at(tensor.position, bytes);
    tensor.position += bytes.size();
  }
  void write(const NamedTensor& tensor) { write(tensor.name, tensor.data); }

  void finish() {
    for (const auto& [name, tensor] : tensors_)
      if (tensor.position != tensor.end)
        throw ShapeError("tensor " + detail::in_quotes(name) + " lacks " +
                         std::to_string(tensor.end - tensor.position) + " bytes of its data");
    file_.commit();
  }

 private:
  struct Progress {
    std::uint64_t position;
    std::uint64_t end;
  };

  SafetensorsWriter(const std::vector<SafetensorsHeader::Entry>& entries,
                    const std::filesystem::path& path, SafetensorsMetadata metadata)
      : file_(path) {
    const std::string head =
        detail::safetensors_head(entries, detail::with_pt_format(std::move(metadata)));
    for (const auto& entry : entries)
      tensors_.emplace(entry.name, Progress{head.size() + entry.begin, head.size() + entry.end});
    file_.write_at(0, std::as_bytes(std::span(head)));
  }

  AtomicFile file_;
  std::map<std::string, Progress, std::less<>> tensors_;
};

/// Writes tensors that are in memory to one file, atomically. Errors as SafetensorsWriter.
inline void write_safetensors(const std::filesystem::path& path,
                              const std::vector<NamedTensor>& tensors,
                              SafetensorsMetadata metadata = {}) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) specs.push_back(tensor.spec());
  SafetensorsWriter file(path, specs, std::move(metadata));
  for (const NamedTensor& tensor : tensors) file.write(tensor);
  file.finish();
}

}  // namespace pare
