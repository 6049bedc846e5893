#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tokenizer {

/// The map of texts that SentencePiece compiles its normalization into: the size in bytes of a
/// double array (Aoe 1989, in the layout of Darts-clone), the array, and texts that NUL ends.
class CharacterMap {
 public:
  /// Reads the map from base64. Throws FormatError where it is none.
  explicit CharacterMap(std::string_view base64);

  /// What the shortest beginning of `text` that the map knows becomes, as the library tokenizers
  /// has it (SentencePiece itself takes the longest). Throws FormatError where the array leads
  /// outside the map.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string texts_;
};

}  // namespace tokenizer
