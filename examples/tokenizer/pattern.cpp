#include "tokenizer/pattern.hpp"

#include "tokenizer/growing_text.hpp"
#include "tokenizer/json_fields.hpp"
#include "tokenizer/trie.hpp"

namespace tokenizer {

Pattern::Pattern(const nlohmann::json& description) {
  if (const auto text = pare::field_as<std::string>(description, {"String"})) {
    if (text->empty() || text->size() > longest_token)
      throw pare::FormatError("the pattern has " + std::to_string(text->size()) +
                              " bytes, not 1 to " + std::to_string(longest_token));
    literal_ = *text;
  } else if (const auto expression = pare::field_as<std::string>(description, {"Regex"})) {
    expression_.emplace(*expression);
  } else {
    throw pare::FormatError("the pattern is neither a \"String\" nor a \"Regex\"");
  }
}

void Pattern::find_all(std::string_view text, std::vector<Match>& matches) const {
  if (expression_) return expression_->find_all(text, matches);
  matches.clear();
  for (std::size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size()))
    matches.push_back({at, at + literal_.size()});
}

std::string Pattern::replace_all(std::string_view text, std::string_view content,
                                 std::size_t limit_bytes) const {
  std::vector<Match> matches;
  find_all(text, matches);
  GrowingText result(limit_bytes);
  std::size_t at = 0;
  for (const Match& match : matches) {
    result.add(text.substr(at, match.begin - at));
    result.add(content);
    at = match.end;
  }
  result.add(text.substr(at));
  return result.take();
}

}  // namespace tokenizer
