#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/models.hpp"

namespace tokenizer {

/// An encoder that remembers short pieces, up to some megabytes of them: words of a text repeat.
class PieceCache {
 public:
  explicit PieceCache(Encoder& encoder) : encoder_(encoder) {}

  void encode(std::string_view piece, std::vector<Id>& ids) {
    const std::size_t before = ids.size();
    if (piece.size() > longest_piece) return encoder_.encode(piece, ids);
    key_.assign(piece);
    if (const auto found = known_.find(key_); found != known_.end()) {
      const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(found->second.begin);
      ids.insert(ids.end(), begin, begin + static_cast<std::ptrdiff_t>(found->second.count));
      return;
    }
    encoder_.encode(piece, ids);
    if (known_.size() >= most_pieces) return;
    known_.emplace(key_, Place{static_cast<std::uint32_t>(ids_.size()),
                               static_cast<std::uint32_t>(ids.size() - before)});
    ids_.insert(ids_.end(), ids.begin() + static_cast<std::ptrdiff_t>(before), ids.end());
  }

 private:
  static constexpr std::size_t longest_piece = 64, most_pieces = 1 << 15;
  struct Place {
    std::uint32_t begin, count;
  };

  Encoder& encoder_;
  std::unordered_map<std::string, Place> known_;
  std::vector<Id> ids_;
  std::string key_;
};

}  // namespace tokenizer
