#include "tokenizer/tokenizer.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "tokenizer/added_tokens.hpp"
#include "tokenizer/decoders.hpp"
#include "tokenizer/growing_text.hpp"
#include "tokenizer/json_fields.hpp"
#include "tokenizer/models.hpp"
#include "tokenizer/normalizers.hpp"
#include "tokenizer/piece_cache.hpp"
#include "tokenizer/post_processors.hpp"
#include "tokenizer/pre_tokenizers.hpp"
#include "tokenizer/regular_expression.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

constexpr std::size_t longest_text = std::size_t{1} << 31;

/// How many bytes decoded tokens may have together: a file can have one that is as long as itself.
std::size_t longest_decoded(std::size_t tokens) { return (1 << 20) + 256 * tokens; }

const nlohmann::json& field_of(const nlohmann::json& file, const char* key) {
  static const nlohmann::json null;
  const nlohmann::json* value = pare::find_field(file, {key});
  return value ? *value : null;
}

}  // namespace

struct Tokenizer::Parts {
  std::vector<AddedToken> added;
  TokenFinder in_text, in_normalized;
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pre_tokenizer;
  std::unique_ptr<Model> model;
  Template post_processor;
  std::unique_ptr<TextDecoder> decoder;
  std::vector<const AddedToken*> added_by_id;  ///< nullptr: the model's own
  std::set<std::string, std::less<>> special;

  explicit Parts(const nlohmann::json& file) {
    if (!file.is_object()) throw pare::FormatError("this is no tokenizer: not a JSON object");
    RegularExpression::start_clock(0);  // the normalizer is used on added tokens
    model = read_model(required(file, "model"));
    normalizer = read_normalizer(field_of(file, "normalizer"));
    pre_tokenizer = read_pre_tokenizer(field_of(file, "pre_tokenizer"));
    post_processor = read_post_processor(field_of(file, "post_processor"));
    decoder = read_decoder(field_of(file, "decoder"));
    if (const auto& tokens = field_of(file, "added_tokens"); !tokens.is_null())
      added = read_added_tokens(tokens);
    find_added_tokens();
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  [[nodiscard]] std::vector<Id> encode(std::string_view text) const {
    if (const std::size_t at = find_invalid_utf8(text); at != std::string_view::npos)
      throw pare::ArgumentError("the text is not UTF-8 at byte " + std::to_string(at));
    if (text.size() >= longest_text) throw pare::ArgumentError("the text has 2^31 bytes or more");
    RegularExpression::start_clock(text.size());
    const auto encoder = model->encoder();
    PieceCache cache(*encoder);
    std::vector<Id> ids;
    bool begins_text = true;
    for (const Stretch& outer : in_text.split(text)) {
      if (outer.token) {
        ids.push_back(outer.token->id);
        begins_text = false;
        continue;
      }
      const std::size_t limit = longest_of(outer.text.size());
      const std::string normalized = normalize(outer.text, limit);
      for (const Stretch& inner : in_normalized.split(normalized)) {
        if (inner.token) {
          ids.push_back(inner.token->id);
        } else {
          Pieces pieces(limit);
          pieces.add(inner.text);
          if (pre_tokenizer) pieces = pre_tokenizer->apply(std::move(pieces), begins_text);
          for (std::size_t i = 0; i < pieces.size(); ++i) cache.encode(pieces[i], ids);
        }
        begins_text = false;
      }
      begins_text = false;
    }
    return ids;
  }

 private:
  [[nodiscard]] std::string normalize(std::string_view text, std::size_t limit) const {
    return normalizer ? normalizer->apply(std::string(text), limit) : std::string(text);
  }

  void find_added_tokens() {
    std::vector<const AddedToken*> raw, normalized;
    const std::size_t known = static_cast<std::size_t>(model->vocabulary().end());
    std::map<std::string, Id> ids;
    Id next = model->vocabulary().size();
    for (AddedToken& token : added) {
      require_plausible(token.id, known + added.size());
      // The library goes by the text: what the file says counts for nothing.
      if (const auto given = ids.find(token.content); given != ids.end())
        token.id = given->second;
      else if (const Id own = model->vocabulary().find(token.content); own != Vocabulary::none)
        token.id = own;
      else
        token.id = next;
      ids.emplace(token.content, token.id);
      next = std::max(next, token.id + 1);
      const auto id = static_cast<std::size_t>(token.id);
      if (id >= added_by_id.size()) added_by_id.resize(id + 1, nullptr);
      added_by_id[id] = &token;
      if (token.is_special) special.insert(token.content);
      if (token.is_in_normalized)
        token.content = normalize(token.content, longest_of(token.content.size()));
      (token.is_in_normalized ? normalized : raw).push_back(&token);
    }
    in_text = TokenFinder(raw);
    in_normalized = TokenFinder(normalized);
  }
};

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer::Tokenizer(const std::filesystem::path& file) {
  const nlohmann::json json = pare::read_json(file);
  pare::with_context(file.string(), [&] { parts_ = std::make_unique<const Parts>(json); });
}

Tokenizer Tokenizer::from_json(std::string_view text) {
  return Tokenizer(std::make_unique<const Parts>(pare::parse_json(text)));
}

Encoding Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  const std::vector<Id> ids = parts_->encode(text);
  return wrap(special == SpecialTokens::add ? parts_->post_processor : Template(), ids, nullptr);
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second,
                                SpecialTokens special) const {
  const std::vector<Id> a = parts_->encode(first);
  const std::vector<Id> b =
      pare::with_context("the second text", [&] { return parts_->encode(second); });
  return wrap(special == SpecialTokens::add ? parts_->post_processor : Template(), a, &b);
}

std::string Tokenizer::decode(std::span<const Id> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  std::size_t bytes = 0;
  for (const Id id : ids) {
    const auto at = static_cast<std::size_t>(id);
    const AddedToken* added =
        id >= 0 && at < parts_->added_by_id.size() ? parts_->added_by_id[at] : nullptr;
    const std::string* text = added ? &added->content : parts_->model->vocabulary().text(id);
    if (!text || (skip_special && parts_->special.contains(*text))) continue;
    bytes += text->size();
    if (bytes > longest_decoded(ids.size()))
      throw pare::ArgumentError("the text of " + std::to_string(ids.size()) +
                                " tokens is longer than " +
                                std::to_string(longest_decoded(ids.size())) + " bytes");
    tokens.push_back(*text);
  }
  std::string result;
  if (!parts_->decoder) {
    for (std::size_t i = 0; i < tokens.size(); ++i) (result += i == 0 ? "" : " ") += tokens[i];
    return result;
  }
  RegularExpression::start_clock(bytes);
  for (const std::string& part : parts_->decoder->apply(std::move(tokens), 64 + 4 * bytes))
    result += part;
  return result;
}

Id Tokenizer::vocab_size() const {
  return std::max(parts_->model->vocabulary().end(), static_cast<Id>(parts_->added_by_id.size()));
}

}  // namespace tokenizer
