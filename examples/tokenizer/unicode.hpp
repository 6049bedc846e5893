#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// UTF-8, and what Unicode says of code points (by utf8proc). Text is valid UTF-8 unless said
/// otherwise: who reads it checks it once with find_invalid_utf8.
namespace tokenizer {

/// Offset of the first byte that does not belong to valid UTF-8; npos when all do.
[[nodiscard]] std::size_t find_invalid_utf8(std::string_view bytes);

/// The bytes as text: U+FFFD stands for each maximal part that is not UTF-8 (Unicode 15, 3.9).
[[nodiscard]] std::string to_valid_utf8(std::string_view bytes);

[[nodiscard]] inline bool is_continuation(char byte) { return (byte & 0xC0) == 0x80; }

/// The code point that begins at `at`, which moves behind it.
[[nodiscard]] inline char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&] { return static_cast<char32_t>(static_cast<unsigned char>(text[at++])); };
  char32_t code = byte();
  if (code < 0x80) return code;
  int more = code < 0xE0 ? 1 : code < 0xF0 ? 2 : 3;
  code &= more == 1 ? 0x1Fu : more == 2 ? 0x0Fu : 0x07u;
  for (; more > 0 && at < text.size(); --more) code = code << 6 | (byte() & 0x3Fu);
  return code;
}

/// Where the code point that ends at `at` begins.
[[nodiscard]] inline std::size_t previous_boundary(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && is_continuation(text[at]));
  return at;
}

/// Where the code point that contains the byte before `at` ends.
[[nodiscard]] inline std::size_t next_boundary(std::string_view text, std::size_t at) {
  while (at < text.size() && is_continuation(text[at])) ++at;
  return at;
}

[[nodiscard]] std::size_t count_code_points(std::string_view text);

void append_code_point(std::string& text, char32_t code);
[[nodiscard]] std::string to_utf8(char32_t code);

/// The property White_Space: 25 code points, more than ASCII's.
[[nodiscard]] bool is_white_space(char32_t code);
/// The categories N.
[[nodiscard]] bool is_number(char32_t code);
/// The categories P, and the ASCII symbols.
[[nodiscard]] bool is_punctuation(char32_t code);
/// The category Mn: accents.
[[nodiscard]] bool is_nonspacing_mark(char32_t code);
/// The categories Cc, Cf and Co; an unassigned code point is none.
[[nodiscard]] bool is_control(char32_t code);

/// The code point in lower case by itself: no final sigma.
void append_lowercase(std::string& text, char32_t code);

enum class NormalForm { c, d, kc, kd };

/// Unicode Standard Annex 15. Takes O(n log n) also for runs of combining marks.
[[nodiscard]] std::string to_normal_form(std::string_view text, NormalForm form);

/// Where the extended grapheme cluster that begins at `at` ends (Unicode Standard Annex 29).
[[nodiscard]] std::size_t grapheme_end(std::string_view text, std::size_t at);

}  // namespace tokenizer
