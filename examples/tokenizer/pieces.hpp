#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/core/error.hpp"

namespace tokenizer {

/// A text cut into pieces, none of them empty. They lie in one string: a page has many.
class Pieces {
 public:
  /// ArgumentError when the pieces together exceed the limit.
  explicit Pieces(std::size_t limit_bytes) : limit_(limit_bytes) {}

  void add(std::string_view piece) {
    if (piece.empty()) return;
    text_ += piece;
    end_piece();
  }
  /// Bytes of a piece that end_piece() ends.
  void add_part(std::string_view part) { text_ += part; }
  void end_piece() {
    if (text_.size() == (ends_.empty() ? 0 : ends_.back())) return;
    if (text_.size() > limit_)
      throw pare::ArgumentError("this tokenizer makes more than " + std::to_string(limit_) +
                                " bytes of a part of the text");
    ends_.push_back(text_.size());
  }

  [[nodiscard]] std::size_t size() const { return ends_.size(); }
  [[nodiscard]] std::string_view operator[](std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(text_).substr(begin, ends_[i] - begin);
  }
  [[nodiscard]] std::size_t limit_bytes() const { return limit_; }

 private:
  std::string text_;
  std::vector<std::size_t> ends_;
  std::size_t limit_;
};

}  // namespace tokenizer
