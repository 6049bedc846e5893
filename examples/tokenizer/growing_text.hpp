#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "pare/core/error.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {

/// How long a text may become on its way, in bytes: a file can ask for replacements without end.
/// Normal forms make 11 times as much of one code point (U+FDFA), letters for bytes twice as much.
/// Positions in a piece have 32 bits.
[[nodiscard]] inline std::size_t longest_of(std::size_t text_bytes) {
  return std::min<std::size_t>(64 + 12 * text_bytes, std::size_t{1} << 31);
}

/// A text that is written piece by piece. ArgumentError when it exceeds the limit.
class GrowingText {
 public:
  explicit GrowingText(std::size_t limit_bytes) : limit_(limit_bytes) {}

  void add(std::string_view more) {
    require(more.size());
    text_ += more;
  }
  void add(char32_t code) {
    require(4);
    append_code_point(text_, code);
  }
  void add_lowercase(char32_t code) {
    require(4);
    append_lowercase(text_, code);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void require(std::size_t more) const {
    if (text_.size() + more > limit_ + 4)
      throw pare::ArgumentError("this tokenizer makes more than " + std::to_string(limit_) +
                                " bytes of a part of the text");
  }

  std::string text_;
  std::size_t limit_;
};

}  // namespace tokenizer
