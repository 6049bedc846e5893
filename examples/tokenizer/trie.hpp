#pragma once

#include <cstdint>
#include <string_view>

#include "tokenizer/pair_table.hpp"

namespace tokenizer {

/// A set of texts with a number each, which is walked byte by byte.
class Trie {
 public:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  struct Node {
    std::uint32_t number = 0;    ///< of the node itself
    std::uint32_t value = none;  ///< of the text that ends here
  };

  [[nodiscard]] static Node root() { return {}; }

  /// A text that is there keeps its value; the empty one is not stored.
  void insert(std::string_view text, std::uint32_t value) {
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      auto& step = steps_.insert(node, static_cast<unsigned char>(text[i]), {nodes_, none});
      if (step.first == nodes_) ++nodes_;
      if (i + 1 == text.size() && step.second == none) step.second = value;
      node = step.first;
    }
  }

  /// Goes on from `node`; false where no text does.
  [[nodiscard]] bool step(Node& node, char byte) const {
    const auto* next = steps_.find(node.number, static_cast<unsigned char>(byte));
    if (!next) return false;
    node = {next->first, next->second};
    return true;
  }

 private:
  PairTable steps_;
  std::uint32_t nodes_ = 1;
};

/// Longer texts are not taken into tries: a search takes the length of the text times that of the
/// longest.
inline constexpr std::size_t longest_token = 512;

}  // namespace tokenizer
