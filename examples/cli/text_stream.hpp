#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cli {

/// The text of tokens that come one after another, in parts that are whole characters: a token may
/// be a part of one, and how it reads may depend on the token before it.
class TextStream {
 public:
  /// `decode` gives the text of several tokens, with U+FFFD for what is not whole.
  explicit TextStream(std::function<std::string(std::span<const std::int32_t>)> decode)
      : decode_(std::move(decode)) {}

  /// What more tokens add to the text; empty while a character is not whole.
  [[nodiscard]] std::string add(std::span<const std::int32_t> ids) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    return next(ids_.size() - done_ <= longest_wait);
  }
  [[nodiscard]] std::string add(std::int32_t id) { return add(std::span(&id, 1)); }

  /// What is left when no token follows.
  [[nodiscard]] std::string finish() { return next(false); }

 private:
  /// More tokens than a character has bytes: what is not whole by then never will be.
  static constexpr std::size_t longest_wait = 8;

  std::string next(bool waits) {
    std::string text = decode_(ids_);
    if (waits && text.ends_with("\uFFFD")) return {};
    // Only a decoder that has changed its mind about what was given out gives another beginning.
    std::size_t known = static_cast<std::size_t>(
        std::mismatch(text.begin(), text.end(), given_.begin(), given_.end()).first - text.begin());
    if (known < given_.size())
      while (known > 0 && known < text.size() && (text[known] & 0xC0) == 0x80) --known;
    std::string added = text.substr(known);
    if (added.empty()) return {};
    // The tokens given out just now stay, for those that follow to be read beside.
    ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(done_));
    done_ = ids_.size();
    given_ = decode_(ids_);
    return added;
  }

  std::function<std::string(std::span<const std::int32_t>)> decode_;
  std::vector<std::int32_t> ids_;  ///< the last that were given out, and those after them
  std::size_t done_ = 0;           ///< how many of them were given out
  std::string given_;              ///< their text
};

}  // namespace cli
