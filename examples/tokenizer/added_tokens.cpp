#include "tokenizer/added_tokens.hpp"

#include <algorithm>
#include <string>

#include "tokenizer/json_fields.hpp"
#include "tokenizer/regular_expression.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

bool is_word_character(std::string_view character) {
  static const RegularExpression expression(R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])");
  std::vector<Match> matches;
  expression.find_all(character, matches);
  return !matches.empty();
}

/// Whether a character of a word touches [begin, end).
bool is_in_word(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0) {
    const std::size_t before = previous_boundary(text, begin);
    if (is_word_character(text.substr(before, begin - before))) return true;
  }
  if (end == text.size()) return false;
  const std::size_t after = next_boundary(text, end + 1);
  return is_word_character(text.substr(end, after - end));
}

std::size_t skip_space_before(std::string_view text, std::size_t begin, std::size_t first) {
  while (begin > first) {
    const std::size_t before = previous_boundary(text, begin);
    std::size_t at = before;
    if (!is_white_space(next_code_point(text, at))) break;
    begin = before;
  }
  return begin;
}

std::size_t skip_space_after(std::string_view text, std::size_t end) {
  for (std::size_t next = end; end < text.size(); end = next)
    if (!is_white_space(next_code_point(text, next))) break;
  return end;
}

}  // namespace

std::vector<AddedToken> read_added_tokens(const nlohmann::json& description) {
  if (!description.is_array()) throw pare::FormatError("field \"added_tokens\" is not a list");
  std::vector<AddedToken> tokens;
  for (std::size_t i = 0; i < description.size(); ++i)
    pare::with_context("added token " + std::to_string(i), [&] {
      const auto& token = description[i];
      AddedToken added{to_id(required(token, "id")),
                       required_as<std::string>(token, "content"),
                       flag(token, "special", false),
                       flag(token, "single_word", false),
                       flag(token, "lstrip", false),
                       flag(token, "rstrip", false),
                       false};
      added.is_in_normalized = flag(token, "normalized", !added.is_special);
      tokens.push_back(std::move(added));
    });
  return tokens;
}

TokenFinder::TokenFinder(std::span<const AddedToken* const> tokens) {
  for (const AddedToken* token : tokens) {
    const std::string& content = token->content;
    if (content.empty()) continue;
    if (content.size() > longest_token)
      throw pare::FormatError("added token " + std::to_string(token->id) + " is longer than " +
                              std::to_string(longest_token) + " bytes");
    texts_.insert(content, static_cast<std::uint32_t>(tokens_.size()));
    tokens_.push_back(token);
    begins_[static_cast<unsigned char>(content[0])] = true;
  }
}

std::vector<Stretch> TokenFinder::split(std::string_view text) const {
  std::vector<Stretch> stretches;
  std::size_t at = 0;         // behind the last token
  std::size_t space_end = 0;  // of the white space after one, which may have more tokens in it
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = begin;
    const AddedToken* token = nullptr;
    if (begins_[static_cast<unsigned char>(text[begin])]) {
      Trie::Node node = Trie::root();
      for (std::size_t next = begin; next < text.size() && texts_.step(node, text[next]);) {
        ++next;
        if (node.value == Trie::none) continue;
        token = tokens_[node.value];
        end = next;
      }
    }
    if (!token) {
      ++begin;
      continue;
    }
    const std::size_t found = begin;
    begin = end;
    if (token->is_word && is_in_word(text, found, end)) continue;
    // A token of white space may have been taken by the one before.
    const std::size_t from =
        token->strips_left ? std::max(at, skip_space_before(text, found, at)) : found;
    if (token->strips_right) end = space_end = skip_space_after(text, std::max(end, space_end));
    if (from > at) stretches.push_back({text.substr(at, from - at), nullptr});
    if (from < end) stretches.push_back({text.substr(from, end - from), token});
    at = end;
  }
  if (at < text.size()) stretches.push_back({text.substr(at), nullptr});
  return stretches;
}

}  // namespace tokenizer
