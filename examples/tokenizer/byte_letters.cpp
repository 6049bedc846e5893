#include "tokenizer/byte_letters.hpp"

#include "tokenizer/unicode.hpp"

namespace tokenizer {

ByteLetters::ByteLetters() {
  bytes_.fill(-1);
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool is_printed = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    const char32_t letter = is_printed ? byte : next++;
    letters_[byte] = to_utf8(letter);
    bytes_[letter] = static_cast<std::int16_t>(byte);
  }
}

bool ByteLetters::append_bytes(std::string& bytes, std::string_view text) const {
  const std::size_t before = bytes.size();
  for (std::size_t at = 0; at < text.size();) {
    const char32_t letter = next_code_point(text, at);
    if (letter >= end || bytes_[letter] < 0) {
      bytes.resize(before);
      return false;
    }
    bytes += static_cast<char>(bytes_[letter]);
  }
  return true;
}

const ByteLetters& byte_letters() {
  static const ByteLetters letters;
  return letters;
}

}  // namespace tokenizer
