#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/encoding.hpp"

namespace tokenizer {

/// Whether tokens that mark beginnings and ends stand around texts.
enum class SpecialTokens { add, leave_out };

/// A tokenizer.json: text to tokens and back, as the library `tokenizers` (0.23) does it. What the
/// file says of truncation and padding is not done.
///
/// Any number of threads may use one object.
class Tokenizer {
 public:
  /// Throws IoError when the file cannot be read, FormatError naming it and what is wrong in it or
  /// not supported.
  explicit Tokenizer(const std::filesystem::path& file);
  /// The same from text in memory.
  [[nodiscard]] static Tokenizer from_json(std::string_view text);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  /// The tokens of a text, which may be empty; special tokens in it are found in either way.
  /// ArgumentError for text that is not UTF-8 (naming the offset) or for which an expression in the
  /// file takes too long.
  [[nodiscard]] Encoding encode(std::string_view text,
                                SpecialTokens special = SpecialTokens::add) const;
  /// The tokens of a pair of texts, such as a question and its answer.
  [[nodiscard]] Encoding encode_pair(std::string_view first, std::string_view second,
                                     SpecialTokens special = SpecialTokens::add) const;

  /// The text of tokens, valid UTF-8. Numbers outside the vocabulary are left out.
  [[nodiscard]] std::string decode(std::span<const Id> ids, bool skip_special = false) const;

  /// One more than the largest number of a token.
  [[nodiscard]] Id vocab_size() const;

 private:
  struct Parts;
  explicit Tokenizer(std::unique_ptr<const Parts> parts);

  std::unique_ptr<const Parts> parts_;
};

}  // namespace tokenizer
