#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regular_expression.hpp"

namespace tokenizer {

/// What is looked for: {"String": text} or {"Regex": expression}.
class Pattern {
 public:
  /// Throws FormatError for another form, and for an empty text.
  explicit Pattern(const nlohmann::json& description);

  /// All matches from left to right.
  void find_all(std::string_view text, std::vector<Match>& matches) const;

  /// The text with `content` in place of each match. ArgumentError when it exceeds the limit.
  [[nodiscard]] std::string replace_all(std::string_view text, std::string_view content,
                                        std::size_t limit_bytes) const;

 private:
  std::string literal_;
  std::optional<RegularExpression> expression_;
};

}  // namespace tokenizer
