#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "tokenizer/byte_tokens.hpp"
#include "tokenizer/models.hpp"
#include "tokenizer/pair_table.hpp"
#include "tokenizer/unicode.hpp"
#include "tokenizer/vocabulary_fields.hpp"

namespace tokenizer {
namespace {

class BytePairEncoding final : public Model {
 public:
  explicit BytePairEncoding(const nlohmann::json& description)
      : vocabulary_(read_vocabulary(description)),
        ignores_merges_(flag(description, "ignore_merges", false)),
        fuses_unknown_(flag(description, "fuse_unk", false)) {
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
      refuse_field(description, key);
    if (const auto unknown = pare::field_as<std::string>(description, {"unk_token"}))
      unknown_ = known(*unknown, "the unk_token");
    if (flag(description, "byte_fallback", false)) bytes_.emplace(vocabulary_);
    const auto& merges = required_list(description, "merges");
    for (std::size_t rank = 0; rank < merges.size(); ++rank)
      pare::with_context("merge " + std::to_string(rank), [&] {
        const auto [left, right] = parts_of(merges[rank]);
        const Id first = known(left, "its first part"), second = known(right, "its second part");
        const Id result = known(left + right, "its result");
        merges_.insert(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(second),
                       {static_cast<std::uint32_t>(rank), static_cast<std::uint32_t>(result)});
      });
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::unique_ptr<Encoder> encoder() const override;

 private:
  friend class PairEncoder;

  Id known(const std::string& text, const char* what) const {
    const Id id = vocabulary_.find(text);
    if (id == Vocabulary::none)
      throw pare::FormatError(std::string(what) + ", " + in_quotes(text) +
                              ", is not in the vocabulary");
    return id;
  }

  /// "a b", or since 2024 ["a", "b"].
  static std::pair<std::string, std::string> parts_of(const nlohmann::json& merge) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
      return {merge[0].get<std::string>(), merge[1].get<std::string>()};
    const auto text = merge.is_string() ? merge.get<std::string>() : std::string();
    const std::size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
      throw pare::FormatError("it is not two texts");
    return {text.substr(0, space), text.substr(space + 1)};
  }

  Vocabulary vocabulary_;
  PairTable merges_;  ///< of two tokens: rank and result
  bool ignores_merges_, fuses_unknown_;
  Id unknown_ = Vocabulary::none;
  std::optional<ByteTokens> bytes_;
};

/// Symbols of a piece are a linked list; the pairs that may be merged wait in a heap.
class PairEncoder final : public Encoder {
 public:
  explicit PairEncoder(const BytePairEncoding& model) : model_(model) {}

  void encode(std::string_view piece, std::vector<Id>& ids) override {
    if (model_.ignores_merges_) {
      if (const Id whole = model_.vocabulary_.find(piece); whole != Vocabulary::none) {
        ids.push_back(whole);
        return;
      }
    }
    start(piece);
    merge();
    for (const Symbol& symbol : symbols_)
      if (symbol.id != Vocabulary::none) ids.push_back(symbol.id);
  }

 private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  struct Symbol {
    Id id;                         ///< none: merged into the symbol before
    std::uint32_t previous, next;  ///< positions, or none
    std::uint32_t rank;            ///< of the pair with the next, or none
  };
  /// Rank, then position: the heap gives the lowest rank first, the leftmost among equals.
  using Candidate = std::uint64_t;

  void start(std::string_view piece) {
    symbols_.clear();
    const auto add = [&](Id id) { symbols_.push_back({id, none, none, none}); };
    bool after_unknown = false;
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t begin = at;
      (void)next_code_point(piece, at);
      const std::string_view character = piece.substr(begin, at - begin);
      const Id id = model_.vocabulary_.find(character);
      if (id != Vocabulary::none) {
        add(id);
        after_unknown = false;
      } else if (model_.bytes_ && model_.bytes_->spell(character, add)) {
        after_unknown = false;
      } else if (model_.unknown_ != Vocabulary::none) {
        if (!after_unknown || !model_.fuses_unknown_) add(model_.unknown_);
        after_unknown = true;
      }
    }
  }

  void merge() {
    candidates_.clear();
    const auto count = static_cast<std::uint32_t>(symbols_.size());
    for (std::uint32_t i = 0; i < count; ++i) {
      if (i > 0) symbols_[i].previous = i - 1;
      if (i + 1 < count) symbols_[i].next = i + 1;
      if (i + 1 < count) consider(i);
    }
    std::make_heap(candidates_.begin(), candidates_.end(), std::greater<>());
    in_heap_ = true;
    while (!candidates_.empty()) {
      const Candidate best = candidates_.front();
      std::pop_heap(candidates_.begin(), candidates_.end(), std::greater<>());
      candidates_.pop_back();
      const auto at = static_cast<std::uint32_t>(best);
      Symbol& left = symbols_[at];
      // The pair at this place may have become another.
      if (left.rank != static_cast<std::uint32_t>(best >> 32)) continue;
      Symbol& right = symbols_[left.next];
      left.id = static_cast<Id>(find(left, right)->second);
      right.id = Vocabulary::none;
      right.rank = none;
      left.next = right.next;
      if (left.next != none) symbols_[left.next].previous = at;
      consider(at);
      if (left.previous != none) consider(left.previous);
    }
    in_heap_ = false;
  }

  /// Notes whether a symbol and the next may be merged.
  void consider(std::uint32_t at) {
    Symbol& left = symbols_[at];
    left.rank = none;
    if (left.next == none) return;
    const auto* merged = find(left, symbols_[left.next]);
    if (!merged) return;
    left.rank = merged->first;
    candidates_.push_back(Candidate{left.rank} << 32 | at);
    if (in_heap_) std::push_heap(candidates_.begin(), candidates_.end(), std::greater<>());
  }

  [[nodiscard]] const PairTable::Value* find(const Symbol& left, const Symbol& right) const {
    return model_.merges_.find(static_cast<std::uint32_t>(left.id),
                               static_cast<std::uint32_t>(right.id));
  }

  const BytePairEncoding& model_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> candidates_;
  bool in_heap_ = false;
};

std::unique_ptr<Encoder> BytePairEncoding::encoder() const {
  return std::make_unique<PairEncoder>(*this);
}

}  // namespace

std::unique_ptr<Model> read_byte_pair_encoding(const nlohmann::json& description) {
  return std::make_unique<BytePairEncoding>(description);
}

}  // namespace tokenizer
