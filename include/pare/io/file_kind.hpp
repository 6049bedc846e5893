#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "pare/core/error.hpp"

/// Files that are met in place of the ones wanted, told by their first bytes: a wrong file should
/// be named as what it is, not by the first number that it happens to violate.
namespace pare {

/// What a file is, and what would work instead of it. Both empty when it is not known.
struct FileKind {
  std::string_view name{};    ///< "a GGUF file": completes "this is ..."
  std::string_view remedy{};  ///< "convert it ...": what to do, or empty

  [[nodiscard]] constexpr bool known() const noexcept { return !name.empty(); }
};

namespace detail {

struct FileSignature {
  std::size_t offset;
  std::string_view bytes;
  FileKind kind;
};

inline constexpr std::string_view convert_from_source =
    "quantize the original safetensors model instead";
inline constexpr std::string_view save_as_safetensors =
    "save the model as safetensors (save_pretrained does)";
inline constexpr std::string_view download_again = "download the file again";

inline constexpr std::array file_signatures{
    FileSignature{
        0, "version https://git-lfs", {"a Git LFS pointer", "fetch the file with `git lfs pull`"}},
    FileSignature{
        0, "version https://hawser", {"a Git LFS pointer", "fetch the file with `git lfs pull`"}},
    FileSignature{0, "GGUF", {"a GGUF file of llama.cpp", convert_from_source}},
    FileSignature{0, "lmgg", {"a GGML file of llama.cpp", convert_from_source}},
    FileSignature{0, "fmgg", {"a GGML file of llama.cpp", convert_from_source}},
    FileSignature{0, "tjgg", {"a GGML file of llama.cpp", convert_from_source}},
    FileSignature{
        0,
        std::string_view("PK\3\4", 4),
        {"a zip archive, as PyTorch's .bin and .pt checkpoints are", save_as_safetensors}},
    FileSignature{0, std::string_view("PK\5\6", 4), {"an empty zip archive", save_as_safetensors}},
    FileSignature{
        0, "\x80\2", {"a Python pickle, as old PyTorch checkpoints are", save_as_safetensors}},
    FileSignature{0, "\x80\3", {"a Python pickle", save_as_safetensors}},
    FileSignature{0, "\x80\4", {"a Python pickle", save_as_safetensors}},
    FileSignature{0, "\x80\5", {"a Python pickle", save_as_safetensors}},
    FileSignature{0, "\x89HDF\r\n", {"an HDF5 file, as Keras writes them", save_as_safetensors}},
    FileSignature{4, "TFL3", {"a TensorFlow Lite model", convert_from_source}},
    FileSignature{0, "\x93NUMPY", {"a NumPy array", ""}},
    FileSignature{0, "PAREPACK", {"a file of packed matrices, as pare pack writes them", ""}},
    FileSignature{0, "\x1f\x8b", {"a gzip archive", "unpack it first"}},
    FileSignature{0, "\x28\xb5\x2f\xfd", {"a Zstandard archive", "unpack it first"}},
    FileSignature{0,
                  "\xfd"
                  "7zXZ",
                  {"an xz archive", "unpack it first"}},
    FileSignature{0, "7z\xbc\xaf", {"a 7z archive", "unpack it first"}},
    FileSignature{257, "ustar", {"a tar archive", "unpack it first"}},
    FileSignature{0, "%PDF", {"a PDF document", download_again}},
    FileSignature{0,
                  "\x7f"
                  "ELF",
                  {"a program", ""}},
};

/// The beginning as text, without white space in front, in lower case.
[[nodiscard]] inline std::string lower_case_start(std::string_view text, std::size_t length) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  std::string start(begin == std::string_view::npos ? "" : text.substr(begin, length));
  for (char& c : start) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return start;
}

/// A protocol buffer that begins as an ONNX model does: field 1, a small version, and then one of
/// the strings or messages of the model.
[[nodiscard]] inline bool begins_like_onnx(std::string_view text) {
  return text.size() > 16 && text[0] == 0x08 && text[1] > 0 && text[1] <= 32 &&
         (text[2] == 0x12 || text[2] == 0x1a || text[2] == 0x22 || text[2] == 0x3a);
}

[[nodiscard]] inline bool is_text(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0xf8) return false;  // never in UTF-8
    return byte >= 0x20 || byte == '\t' || byte == '\n' || byte == '\r';
  });
}

}  // namespace detail

/// The kind of a file from its first bytes, some hundred of them or all. Kinds that other files
/// could begin like by chance are among them: ask when a file was refused, not before.
[[nodiscard]] inline FileKind file_kind(std::span<const std::byte> head) {
  constexpr std::size_t longest = 512;
  const std::string_view text(reinterpret_cast<const char*>(head.data()),
                              std::min(head.size(), longest));
  if (text.empty()) return {"an empty file", detail::download_again};
  for (const detail::FileSignature& signature : detail::file_signatures)
    if (text.size() >= signature.offset &&
        text.substr(signature.offset).starts_with(signature.bytes))
      return signature.kind;
  const std::string start = detail::lower_case_start(text, 14);
  if (start.starts_with("<!doctype html") || start.starts_with("<html") ||
      start.starts_with("<head"))
    return {"an HTML page", detail::download_again};
  if (start.starts_with("<?xml")) return {"an XML document", detail::download_again};
  if (detail::begins_like_onnx(text)) return {"an ONNX model", detail::convert_from_source};
  if (text.size() > 8 && text[8] == '{' && text.substr(4, 4) == std::string_view("\0\0\0\0", 4))
    return {"a safetensors file", ""};
  if (start.starts_with("{") && detail::is_text(text)) return {"a JSON text", ""};
  if (detail::is_text(text)) return {"a text", ""};
  return {};
}

namespace detail {

/// Runs `parse`. When it refuses the file, the error says what the file is instead, if that is
/// known and not `wanted`.
template <class F>
decltype(auto) name_other_kinds(std::span<const std::byte> file, std::string_view wanted,
                                F&& parse) {
  try {
    return std::forward<F>(parse)();
  } catch (const FormatError&) {
    const FileKind kind = file_kind(file);
    const bool is_kind_of_text = kind.name == "a text" && wanted == "a JSON text";
    if (!kind.known() || kind.name == wanted || is_kind_of_text) throw;
    throw FormatError("this is " + std::string(kind.name) + ", not " + std::string(wanted) +
                      (kind.remedy.empty() ? "" : ": " + std::string(kind.remedy)));
  }
}

/// "a directory", "a FIFO", ...: what stands in place of a regular file.
[[nodiscard]] inline std::string_view file_type_name(unsigned mode) noexcept {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "a file";
    case S_IFDIR:
      return "a directory";
    case S_IFIFO:
      return "a FIFO (named pipe)";
    case S_IFSOCK:
      return "a socket";
    default:
      return "a device";
  }
}

}  // namespace detail

}  // namespace pare
