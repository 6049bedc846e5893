#include "tokenizer/unicode.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <vector>

namespace tokenizer {
namespace {

utf8proc_category_t category(char32_t code) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

/// Bytes of the code point that `bytes` begins with, or 0 where it is not valid.
std::size_t valid_length(std::string_view bytes) {
  if (static_cast<unsigned char>(bytes.front()) < 0x80) return 1;
  utf8proc_int32_t code = 0;
  const auto length = utf8proc_iterate(
      reinterpret_cast<const utf8proc_uint8_t*>(bytes.data()),
      static_cast<utf8proc_ssize_t>(std::min<std::size_t>(bytes.size(), 4)), &code);
  return length > 0 ? static_cast<std::size_t>(length) : 0;
}

/// Bytes that one U+FFFD stands for: a beginning of a valid code point, or one byte.
std::size_t bad_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const int lead = at(0);
  const std::size_t whole = lead >= 0xF0 && lead <= 0xF4   ? 4
                            : lead >= 0xE0 && lead <= 0xEF ? 3
                            : lead >= 0xC2 && lead <= 0xDF ? 2
                                                           : 1;
  // Overlong forms, surrogates and what lies beyond U+10FFFF are told by the second byte.
  const int lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const int highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  std::size_t length = 1;
  while (length < std::min(whole, bytes.size()) && at(length) >= (length == 1 ? lowest : 0x80) &&
         at(length) <= (length == 1 ? highest : 0xBF))
    ++length;
  return length;
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = valid_length(bytes.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    std::size_t length = valid_length(bytes);
    if (length > 0) {
      text += bytes.substr(0, length);
    } else {
      length = bad_length(bytes);
      text += "\uFFFD";
    }
    bytes.remove_prefix(length);
  }
  return text;
}

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

void append_code_point(std::string& text, char32_t code) {
  if (code < 0x80) {
    text += static_cast<char>(code);
    return;
  }
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(length));
}

std::string to_utf8(char32_t code) {
  std::string text;
  append_code_point(text, code);
  return text;
}

bool is_white_space(char32_t code) {
  // utf8proc does not know this property.
  if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_number(char32_t code) {
  if (code < 0x80) return code >= '0' && code <= '9';
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t code) {
  if (code < 0x80)
    return (code >= 33 && code <= 47) || (code >= 58 && code <= 64) || (code >= 91 && code <= 96) ||
           (code >= 123 && code <= 126);
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool is_nonspacing_mark(char32_t code) { return category(code) == UTF8PROC_CATEGORY_MN; }

bool is_control(char32_t code) {
  const auto c = category(code);
  return c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CO;
}

void append_lowercase(std::string& text, char32_t code) {
  if (code == 0x130) {
    text += "i\u0307";  // the only one that becomes two
    return;
  }
  append_code_point(text,
                    static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
}

std::string to_normal_form(std::string_view text, NormalForm form) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; }))
    return std::string(text);
  const bool composes = form == NormalForm::c || form == NormalForm::kc;
  const bool is_compatible = form == NormalForm::kc || form == NormalForm::kd;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (is_compatible ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t parts[32];  // the longest decomposition has 18
    int boundary = 0;
    const auto count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(next_code_point(text, at)), parts, 32, options, &boundary);
    codes.insert(codes.end(), parts, parts + std::clamp<utf8proc_ssize_t>(count, 0, 32));
  }
  // utf8proc_map sorts marks by insertion, which takes hours for a text of marks alone.
  const auto combining_class = [](utf8proc_int32_t code) {
    return utf8proc_get_property(code)->combining_class;
  };
  for (auto begin = codes.begin(); begin != codes.end();) {
    const auto is_starter = [&](utf8proc_int32_t code) { return combining_class(code) == 0; };
    begin = std::find_if_not(begin, codes.end(), is_starter);
    const auto end = std::find_if(begin, codes.end(), is_starter);
    std::stable_sort(begin, end, [&](utf8proc_int32_t a, utf8proc_int32_t b) {
      return combining_class(a) < combining_class(b);
    });
    begin = end;
  }
  if (composes) {
    const auto length = utf8proc_normalize_utf32(
        codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    codes.resize(static_cast<std::size_t>(std::max<utf8proc_ssize_t>(length, 0)));
  }
  std::string result;
  result.reserve(text.size());
  for (const utf8proc_int32_t code : codes) append_code_point(result, static_cast<char32_t>(code));
  return result;
}

std::size_t grapheme_end(std::string_view text, std::size_t at) {
  utf8proc_int32_t state = 0;
  auto before = static_cast<utf8proc_int32_t>(next_code_point(text, at));
  while (at < text.size()) {
    std::size_t next = at;
    const auto code = static_cast<utf8proc_int32_t>(next_code_point(text, next));
    if (utf8proc_grapheme_break_stateful(before, code, &state)) break;
    before = code;
    at = next;
  }
  return at;
}

}  // namespace tokenizer
