#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/config.hpp"
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

/// Turns text into tokens of one model and back: raw bytes for a vocabulary of 256, else
/// SentencePiece with the model's tokenizer.model.
class Tokenizer {
 public:
  Tokenizer(std::filesystem::path model_directory, const engine::ModelConfig& config);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Throws ArgumentError for empty text, or when this model's tokenizer is not available.
  [[nodiscard]] Tokens encode(const std::string& text);
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids);

 private:
  struct SentencePiece;
  SentencePiece& sentence_piece();

  std::filesystem::path directory_;
  engine::ModelConfig config_;
  SentencePiece* sentence_piece_ = nullptr;
};

/// Token ids from a .npy file (one-dimensional i4 or i8) or raw little-endian int32.
/// Throws ArgumentError naming the first id outside [0, vocab_size), FormatError for another
/// layout.
[[nodiscard]] Tokens read_token_file(const std::filesystem::path& path, Index vocab_size);

/// Writes a .npy file of int32 ids.
void write_token_file(const std::filesystem::path& path, std::span<const std::int32_t> ids);

/// A text file as it is. Throws IoError when it cannot be read, ArgumentError when it is empty.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path);

}  // namespace cli
