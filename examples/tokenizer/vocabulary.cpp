#include "tokenizer/vocabulary.hpp"

#include <algorithm>

#include "pare/core/error.hpp"

namespace tokenizer {

void require_plausible(Id id, std::size_t count) {
  if (static_cast<std::size_t>(id) > (1 << 18) + 4 * count)
    throw pare::FormatError("the id " + std::to_string(id) + " is far outside a vocabulary of " +
                            std::to_string(count) + " tokens");
}

Vocabulary::Vocabulary(std::vector<std::pair<std::string, Id>> tokens) {
  ids_.reserve(tokens.size());
  const std::size_t count = tokens.size();
  for (auto& [text, id] : tokens) {
    require_plausible(id, count);
    const auto [place, is_new] = ids_.try_emplace(std::move(text), id);
    if (!is_new) continue;
    const auto at = static_cast<std::size_t>(id);
    if (at >= texts_.size()) texts_.resize(at + 1, nullptr);
    if (!texts_[at]) texts_[at] = &place->first;
  }
}

}  // namespace tokenizer
