#include <cstdint>
#include <string>

#include "tokenizer/models.hpp"
#include "tokenizer/trie.hpp"
#include "tokenizer/unicode.hpp"
#include "tokenizer/vocabulary_fields.hpp"

namespace tokenizer {
namespace {

class WordPiece final : public Model {
 public:
  explicit WordPiece(const nlohmann::json& description)
      : vocabulary_(read_vocabulary(description)),
        prefix_(required_as<std::string>(description, "continuing_subword_prefix")),
        longest_word_(required_as<std::uint32_t>(description, "max_input_chars_per_word")) {
    const auto unknown = required_as<std::string>(description, "unk_token");
    unknown_ = vocabulary_.find(unknown);
    if (unknown_ == Vocabulary::none)
      throw pare::FormatError("the unk_token " + in_quotes(unknown) + " is not in the vocabulary");
    for (Id id = 0; id < vocabulary_.end(); ++id) {
      const std::string* text = vocabulary_.text(id);
      if (!text) continue;
      if (text->size() > longest_token)
        throw pare::FormatError("token " + std::to_string(id) + " is longer than " +
                                std::to_string(longest_token) + " bytes");
      tokens_.insert(*text, static_cast<std::uint32_t>(id));
    }
    has_continuations_ = true;
    for (const char c : prefix_)
      has_continuations_ = has_continuations_ && tokens_.step(inside_, c);
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::unique_ptr<Encoder> encoder() const override;

  void encode(std::string_view word, std::vector<Id>& ids) const {
    const std::size_t before = ids.size();
    bool fits = count_code_points(word) <= longest_word_;
    for (std::size_t at = 0; fits && at < word.size();) {
      Trie::Node node = at == 0 ? Trie::root() : inside_;
      std::uint32_t longest = Trie::none;
      std::size_t end = at;
      if (at == 0 || has_continuations_)
        for (std::size_t next = at; next < word.size() && tokens_.step(node, word[next]);) {
          ++next;
          if (node.value == Trie::none) continue;
          longest = node.value;
          end = next;
        }
      fits = longest != Trie::none;
      if (fits) ids.push_back(static_cast<Id>(longest));
      at = end;
    }
    if (fits) return;
    ids.resize(before);
    ids.push_back(unknown_);
  }

 private:
  Vocabulary vocabulary_;
  Trie tokens_;
  std::string prefix_;
  Trie::Node inside_ = Trie::root();  ///< where tokens go on that do not begin a word
  bool has_continuations_ = false;
  std::uint32_t longest_word_;
  Id unknown_;
};

class WordEncoder final : public Encoder {
 public:
  explicit WordEncoder(const WordPiece& model) : model_(model) {}
  void encode(std::string_view piece, std::vector<Id>& ids) override { model_.encode(piece, ids); }

 private:
  const WordPiece& model_;
};

std::unique_ptr<Encoder> WordPiece::encoder() const { return std::make_unique<WordEncoder>(*this); }

}  // namespace

std::unique_ptr<Model> read_word_piece(const nlohmann::json& description) {
  return std::make_unique<WordPiece>(description);
}

}  // namespace tokenizer
