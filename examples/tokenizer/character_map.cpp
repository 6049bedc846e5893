#include "tokenizer/character_map.hpp"

#include "pare/core/error.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

std::string from_base64(std::string_view text) {
  if (text.size() % 4 != 0) throw pare::FormatError("the map is no base64: it is cut short");
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  std::uint32_t bits = 0;
  int count = 0;
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t digit = digits.find(text[i]);
    if (digit == std::string_view::npos)
      throw pare::FormatError("the map is no base64 at character " + std::to_string(i));
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xFF);
    }
  }
  return bytes;
}

std::uint32_t number_at(std::string_view bytes, std::size_t at) {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < 4; ++i)
    number |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return number;
}

/// How far the children of a unit of Darts-clone are.
std::size_t offset_of(std::uint32_t unit) {
  return static_cast<std::size_t>(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

}  // namespace

CharacterMap::CharacterMap(std::string_view base64) {
  const std::string bytes = from_base64(base64);
  const std::size_t size = bytes.size() < 4 ? 0 : number_at(bytes, 0);
  if (size < 4 || size % 4 != 0 || size > bytes.size() - 4)
    throw pare::FormatError("the map's array of " + std::to_string(size) +
                            " bytes does not fit its " + std::to_string(bytes.size()) + " bytes");
  for (std::size_t at = 4; at < 4 + size; at += 4) units_.push_back(number_at(bytes, at));
  texts_ = bytes.substr(4 + size);
  if (!texts_.empty() && texts_.back() != '\0')
    throw pare::FormatError("the map's texts do not end");
  if (find_invalid_utf8(texts_) != std::string_view::npos)
    throw pare::FormatError("the map's texts are not UTF-8");
}

std::optional<std::string_view> CharacterMap::find(std::string_view text) const {
  const auto unit_at = [&](std::size_t at) {
    if (at >= units_.size()) throw pare::FormatError("the map's array leads outside it");
    return units_[at];
  };
  std::size_t at = offset_of(units_[0]);
  for (const char c : text) {
    const std::uint32_t byte = static_cast<unsigned char>(c);
    if (byte == 0) break;
    at ^= byte;
    if (at >= units_.size()) break;
    const std::uint32_t unit = units_[at];
    if ((unit & (1u << 31 | 0xFFu)) != byte) break;
    at ^= offset_of(unit);
    if ((unit >> 8 & 1) == 0) continue;
    const std::size_t begin = unit_at(at) & 0x7FFFFFFFu;
    if (begin >= texts_.size() || is_continuation(texts_[begin]))
      throw pare::FormatError("the map has no text at " + std::to_string(begin));
    return std::string_view(texts_).substr(begin, texts_.find('\0', begin) - begin);
  }
  return {};
}

}  // namespace tokenizer
