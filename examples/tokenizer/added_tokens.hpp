#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/id.hpp"
#include "tokenizer/trie.hpp"

namespace tokenizer {

/// A token that is looked for in the text before the model sees it.
struct AddedToken {
  Id id = 0;
  std::string content;            ///< if normalized, as that is
  bool is_special = false;        ///< may be skipped when decoding
  bool is_word = false;           ///< does not count inside a word
  bool strips_left = false;       ///< takes the white space before it
  bool strips_right = false;      ///< and after it
  bool is_in_normalized = false;  ///< looked for in the normalized text
};

/// Reads "added_tokens". Throws FormatError naming one that is malformed.
[[nodiscard]] std::vector<AddedToken> read_added_tokens(const nlohmann::json& description);

/// A part of a text: a token, or what lies between tokens.
struct Stretch {
  std::string_view text;
  const AddedToken* token;  ///< nullptr between tokens; the text is not empty then
};

/// Finds tokens: the leftmost, of those that begin at one place the longest.
class TokenFinder {
 public:
  TokenFinder() = default;
  /// Looks for the contents of these tokens, which must outlive this; of equal ones the first
  /// counts.
  explicit TokenFinder(std::span<const AddedToken* const> tokens);

  /// Cuts the text into tokens and what lies between.
  [[nodiscard]] std::vector<Stretch> split(std::string_view text) const;

 private:
  Trie texts_;
  std::vector<const AddedToken*> tokens_;
  bool begins_[256] = {};  ///< whether a token begins with a byte
};

}  // namespace tokenizer
