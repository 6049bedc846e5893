#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include "tokenizer/byte_tokens.hpp"
#include "tokenizer/json_fields.hpp"
#include "tokenizer/models.hpp"
#include "tokenizer/trie.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

/// What an unknown character costs beside the least likely token.
constexpr double unknown_penalty = 10.0;

/// A score as the library tokenizers reads it: its digits as a whole number, divided by a power of
/// ten, which may be off by the last bit. That decides between two ways that are as good.
double as_the_library_reads(double score) {
  char text[32];  // the shortest form, as files have it
  const char* end =
      std::to_chars(text, text + sizeof text, std::abs(score), std::chars_format::scientific).ptr;
  std::uint64_t digits = 0;
  int decimals = 0;
  const char* at = text;
  for (bool behind_point = false; at < end && *at != 'e'; ++at) {
    if (*at == '.') {
      behind_point = true;
      continue;
    }
    digits = 10 * digits + static_cast<std::uint64_t>(*at - '0');
    decimals += behind_point ? 1 : 0;
  }
  int exponent = 0;
  if (at < end) std::from_chars(at[1] == '+' ? at + 2 : at + 1, end, exponent);
  exponent -= decimals;
  if (exponent < -300 || exponent > 300) return score;
  const double power = std::pow(10.0, std::abs(exponent));
  const auto whole = static_cast<double>(digits);
  return std::copysign(exponent < 0 ? whole / power : whole * power, score);
}

class Unigram final : public Model {
 public:
  explicit Unigram(const nlohmann::json& description) {
    const auto& vocab = required_list(description, "vocab");
    std::vector<std::pair<std::string, Id>> tokens;
    for (std::size_t i = 0; i < vocab.size(); ++i) {
      const auto& entry = vocab[i];
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
        throw pare::FormatError("token " + std::to_string(i) + " is not a text and a score");
      const auto text = entry[0].get<std::string>();
      if (text.size() > longest_token)
        throw pare::FormatError("token " + std::to_string(i) + " is longer than " +
                                std::to_string(longest_token) + " bytes");
      const auto score = entry[1].get<double>();
      if (!std::isfinite(score))
        throw pare::FormatError("the score of token " + std::to_string(i) + " is not finite");
      scores_.push_back(as_the_library_reads(score));
      trie_.insert(text, static_cast<std::uint32_t>(i));
      tokens.emplace_back(text, static_cast<Id>(i));
    }
    if (scores_.empty()) throw pare::FormatError("the vocabulary is empty");
    floor_ = *std::min_element(scores_.begin(), scores_.end()) - unknown_penalty;
    if (const auto unknown = pare::field_as<std::int64_t>(description, {"unk_id"})) {
      if (*unknown < 0 || *unknown >= static_cast<std::int64_t>(scores_.size()))
        throw pare::FormatError("the unk_id " + std::to_string(*unknown) +
                                " is outside the vocabulary");
      unknown_ = static_cast<Id>(*unknown);
    }
    vocabulary_ = Vocabulary(std::move(tokens));
    if (flag(description, "byte_fallback", false)) bytes_.emplace(vocabulary_);
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::unique_ptr<Encoder> encoder() const override;

 private:
  friend class LatticeEncoder;

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  double floor_ = 0.0;
  Trie trie_;
  Id unknown_ = Vocabulary::none;
  std::optional<ByteTokens> bytes_;
};

/// Viterbi's algorithm, forwards over the places where tokens may end.
class LatticeEncoder final : public Encoder {
 public:
  explicit LatticeEncoder(const Unigram& model) : model_(model) {}

  void encode(std::string_view piece, std::vector<Id>& ids) override {
    find_best(piece);
    steps_.clear();
    for (std::size_t end = piece.size(); end > 0; end = best_[end].begin) steps_.push_back(end);
    std::size_t unknown_begin = std::string_view::npos;
    std::size_t begin = 0;
    for (auto end = steps_.rbegin(); end != steps_.rend(); begin = *end++) {
      const Id id = best_[*end].id;
      const bool is_unknown = id == Vocabulary::none || id == model_.unknown_;
      if (is_unknown && unknown_begin == std::string_view::npos) unknown_begin = begin;
      if (!is_unknown) {
        add_unknown(piece, unknown_begin, begin, ids);
        unknown_begin = std::string_view::npos;
        ids.push_back(id);
      }
    }
    add_unknown(piece, unknown_begin, piece.size(), ids);
  }

 private:
  static constexpr std::uint32_t no_way = ~std::uint32_t{0};
  /// The best way to a place: where its last token begins.
  struct Best {
    double score = 0.0;
    std::uint32_t begin = no_way;
    Id id = Vocabulary::none;  ///< none: an unknown character
  };

  void find_best(std::string_view piece) {
    best_.assign(piece.size() + 1, Best());
    for (std::size_t at = 0, next = 0; at < piece.size(); at = next) {
      (void)next_code_point(piece, next);
      const double score = best_[at].score;
      const auto offer = [&](std::size_t end, double more, Id id) {
        Best& best = best_[end];
        // Beginnings come from left to right: on a tie the longer last token stays.
        if (best.begin == no_way || score + more > best.score)
          best = {score + more, static_cast<std::uint32_t>(at), id};
      };
      Trie::Node node = Trie::root();
      for (std::size_t end = at; end < piece.size() && model_.trie_.step(node, piece[end]);) {
        ++end;
        if (node.value == Trie::none) continue;
        offer(end, model_.scores_[node.value], static_cast<Id>(node.value));
      }
      offer(next, model_.floor_, Vocabulary::none);  // less than any token's
    }
  }

  /// Unknown characters in a row are one token.
  void add_unknown(std::string_view piece, std::size_t begin, std::size_t end,
                   std::vector<Id>& ids) const {
    if (begin == std::string_view::npos) return;
    const auto add = [&](Id id) { ids.push_back(id); };
    const std::string_view run = piece.substr(begin, end - begin);
    if (const Id known = model_.vocabulary_.find(run); known != Vocabulary::none)
      return add(known);  // the unknown token's own text
    if (model_.bytes_ && model_.bytes_->spell(run, add)) return;
    if (model_.unknown_ == Vocabulary::none)
      throw pare::ArgumentError("the vocabulary lacks a character of the text, and has no unk_id");
    ids.push_back(model_.unknown_);
  }

  const Unigram& model_;
  std::vector<Best> best_;
  std::vector<std::size_t> steps_;
};

std::unique_ptr<Encoder> Unigram::encoder() const {
  return std::make_unique<LatticeEncoder>(*this);
}

}  // namespace

std::unique_ptr<Model> read_unigram(const nlohmann::json& description) {
  return std::make_unique<Unigram>(description);
}

}  // namespace tokenizer
