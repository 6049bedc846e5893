#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/io/file_kind.hpp"
#include "pare/io/mapped_file.hpp"
#include "pare/io/safetensors_header.hpp"
#include "pare/io/stored_tensor.hpp"

namespace pare {

/// The tensors of one safetensors file, mapped into memory and validated when opened.
///
///     auto file = SafetensorsReader::open("model.safetensors");
///     Matrix<float> w = file.read_matrix("lm_head.weight");
///
/// Errors    FormatError for a malformed file or a missing tensor, IoError for an unreadable one;
///           each message names the file
class SafetensorsReader {
 public:
  [[nodiscard]] static SafetensorsReader open(const std::filesystem::path& path) {
    MappedFile file(path);
    const std::span<const std::byte> bytes = file.bytes();
    return SafetensorsReader(std::move(file), bytes, path.string());
  }

  /// Reads a file's content that the caller keeps in memory; `label` names it in messages.
  [[nodiscard]] static SafetensorsReader from_bytes(std::span<const std::byte> bytes,
                                                    std::string label = "safetensors") {
    return SafetensorsReader(MappedFile(), bytes, std::move(label));
  }

  /// In the order of the data in the file.
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept {
    return metadata_;
  }
  [[nodiscard]] bool contains(std::string_view name) const { return tensors_.contains(name); }

  /// Valid as long as the reader. Throws FormatError when there is no such tensor.
  [[nodiscard]] const TensorInfo& info(std::string_view name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end())
      throw FormatError(label_ + ": no tensor named " + detail::in_quotes(name));
    return found->second;
  }

  /// See to_matrix.
  [[nodiscard]] Matrix<float> read_matrix(std::string_view name) const {
    const TensorInfo& tensor = info(name);
    return with_context(where(name), [&] { return to_matrix(tensor); });
  }
  /// See to_vector.
  [[nodiscard]] Vector<float> read_vector(std::string_view name) const {
    const TensorInfo& tensor = info(name);
    return with_context(where(name), [&] { return to_vector(tensor); });
  }
  /// See elements_as.
  template <class T>
  [[nodiscard]] std::vector<T> read_as(std::string_view name) const {
    const TensorInfo& tensor = info(name);
    return with_context(where(name), [&] { return elements_as<T>(tensor); });
  }

  /// Takes the file's pages out of resident memory; what is read later is mapped again.
  void drop_pages() const noexcept { file_.drop_pages(); }

 private:
  SafetensorsReader(MappedFile file, std::span<const std::byte> bytes, std::string label)
      : file_(std::move(file)), label_(std::move(label)) {
    auto header = with_context(label_, [&] {
      return detail::name_other_kinds(bytes, "a safetensors file",
                                      [&] { return SafetensorsHeader::parse(bytes); });
    });
    metadata_ = std::move(header.metadata);
    names_.reserve(header.tensors.size());
    for (auto& tensor : header.tensors) {
      const auto data = bytes.subspan(header.data_offset + static_cast<std::size_t>(tensor.begin),
                                      static_cast<std::size_t>(tensor.end - tensor.begin));
      names_.push_back(tensor.name);
      tensors_.emplace(std::move(tensor.name),
                       TensorInfo{tensor.dtype, std::move(tensor.shape), data});
    }
  }

  [[nodiscard]] std::string where(std::string_view name) const {
    return label_ + ": tensor " + detail::in_quotes(name);
  }

  MappedFile file_;
  std::string label_;
  std::vector<std::string> names_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace pare
