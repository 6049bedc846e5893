#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "pare/core/index.hpp"

namespace cli {

using pare::Index;

/// Token ids, and the bytes of the text they were made from (0 when given as ids).
struct Tokens {
  std::vector<std::int32_t> ids;
  Index text_bytes = 0;

  /// Bytes of text per token, or 0 when unknown.
  [[nodiscard]] double bytes_per_token() const {
    return ids.empty() ? 0.0 : static_cast<double>(text_bytes) / static_cast<double>(ids.size());
  }
};

/// Token ids from a .npy file (one-dimensional i4 or i8) or raw little-endian int32.
/// Throws ArgumentError naming the first id outside [0, vocab_size), FormatError for another
/// layout.
[[nodiscard]] Tokens read_token_file(const std::filesystem::path& path, Index vocab_size);

/// The same of any numbers and of none.
[[nodiscard]] std::vector<std::int64_t> read_token_ids(const std::filesystem::path& path);

/// Writes a .npy file of int32 ids, atomically.
void write_token_file(const std::filesystem::path& path, std::span<const std::int32_t> ids);

/// A file as it is; what the shell opened for us, too. Throws IoError.
[[nodiscard]] std::string read_bytes(const std::filesystem::path& path);

/// A text file as it is. Throws IoError when it cannot be read, ArgumentError when it is empty.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path);

/// What a build without PCRE2 and utf8proc says of a tokenizer.json.
inline constexpr const char* no_tokenizer_json =
    "this build reads no tokenizer.json: PCRE2 and utf8proc were not found when it was configured "
    "(Debian: libpcre2-dev, libutf8proc-dev)";

}  // namespace cli
