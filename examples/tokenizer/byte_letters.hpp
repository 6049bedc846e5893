#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace tokenizer {

/// The letters that byte-level vocabularies spell bytes with: the printed ones of Latin-1 stand for
/// themselves, the other 68 are U+0100 on in order.
class ByteLetters {
 public:
  ByteLetters();

  [[nodiscard]] std::string_view letter(char byte) const {
    return letters_[static_cast<unsigned char>(byte)];
  }
  /// Appends the bytes that the letters of `text` spell. False, with `bytes` as they were, when one
  /// of them is no such letter.
  [[nodiscard]] bool append_bytes(std::string& bytes, std::string_view text) const;

 private:
  static constexpr std::size_t end = 0x144;
  std::array<std::string, 256> letters_;
  std::array<std::int16_t, end> bytes_;  ///< by letter, or -1
};

/// The one table there is.
[[nodiscard]] const ByteLetters& byte_letters();

}  // namespace tokenizer
