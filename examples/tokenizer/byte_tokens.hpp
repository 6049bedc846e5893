#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "tokenizer/vocabulary.hpp"

namespace tokenizer {

/// The tokens "<0x00>" to "<0xFF>" of a vocabulary, which spell what it has no token for.
class ByteTokens {
 public:
  explicit ByteTokens(const Vocabulary& vocabulary) {
    static constexpr char digits[] = "0123456789ABCDEF";
    char text[] = "<0x00>";
    for (std::size_t byte = 0; byte < 256; ++byte) {
      text[3] = digits[byte / 16];
      text[4] = digits[byte % 16];
      ids_[byte] = vocabulary.find(text);
    }
  }

  /// Calls `add` with the token of each byte; false, without a call, when one is missing.
  template <class Add>
  [[nodiscard]] bool spell(std::string_view text, Add&& add) const {
    for (const char c : text)
      if (id(c) == Vocabulary::none) return false;
    for (const char c : text) add(id(c));
    return true;
  }

 private:
  [[nodiscard]] Id id(char c) const { return ids_[static_cast<unsigned char>(c)]; }

  std::array<Id, 256> ids_;
};

/// The byte that a token such as "<0x41>" stands for.
[[nodiscard]] inline std::optional<char> byte_of_token(std::string_view token) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return {};
  const int high = digit(token[3]), low = digit(token[4]);
  if (high < 0 || low < 0) return {};
  return static_cast<char>(16 * high + low);
}

}  // namespace tokenizer
