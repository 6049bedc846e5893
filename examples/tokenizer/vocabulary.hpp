#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/id.hpp"

namespace tokenizer {

/// The texts of tokens and their numbers.
class Vocabulary {
 public:
  static constexpr Id none = -1;

  Vocabulary() = default;
  /// Of a text given twice the first counts. Throws FormatError for a number that is far outside
  /// what so many tokens need.
  explicit Vocabulary(std::vector<std::pair<std::string, Id>> tokens);
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  /// The number of a text, or none.
  [[nodiscard]] Id find(std::string_view text) const {
    const auto found = ids_.find(text);
    return found == ids_.end() ? none : found->second;
  }
  /// The text of a number, or nullptr.
  [[nodiscard]] const std::string* text(Id id) const {
    return id >= 0 && static_cast<std::size_t>(id) < texts_.size()
               ? texts_[static_cast<std::size_t>(id)]
               : nullptr;
  }
  /// How many texts there are.
  [[nodiscard]] Id size() const { return static_cast<Id>(ids_.size()); }
  /// One more than the largest number.
  [[nodiscard]] Id end() const { return static_cast<Id>(texts_.size()); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  std::unordered_map<std::string, Id, Hash, std::equal_to<>> ids_;
  std::vector<const std::string*> texts_;
};

/// Throws FormatError when a number is far outside what `count` tokens need: tables of all numbers
/// are made.
void require_plausible(Id id, std::size_t count);

}  // namespace tokenizer
