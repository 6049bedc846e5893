#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tokenizer {

/// A part of a text: [begin, end) in bytes.
struct Match {
  std::size_t begin, end;
};

/// An expression of a tokenizer.json, which is written for Oniguruma, matched by PCRE2. What the
/// two read differently is refused, but for `\s` and `\S`, which mean White_Space.
///
/// Both expression and text come from others: matching has limits, also in time, and exceeding one
/// is an ArgumentError.
class RegularExpression {
 public:
  /// Throws FormatError naming the expression and what is wrong in it.
  explicit RegularExpression(std::string pattern);
  ~RegularExpression();
  RegularExpression(RegularExpression&&) noexcept;

  /// All matches from left to right; an empty one counts unless it touches the one before.
  void find_all(std::string_view text, std::vector<Match>& matches) const;

  /// Lets the calls of this thread that follow take as long together as a text of so many bytes
  /// may: some seconds, and more for a long one.
  static void start_clock(std::size_t text_bytes);

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
  std::string pattern_;
};

}  // namespace tokenizer
