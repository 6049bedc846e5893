#include "tokenizer/post_processors.hpp"

#include <algorithm>

#include "tokenizer/component_list.hpp"

namespace tokenizer {
namespace {

using nlohmann::json;
using What = Template::What;

/// More special tokens in a template are a mistake, or meant to exhaust memory.
constexpr std::size_t most_special_tokens = 1024;

std::unique_ptr<Template> read_byte_level(const json&) { return std::make_unique<Template>(); }

/// A token given as [text, number].
std::vector<Id> token_of(const json& description, const char* key) {
  const json& token = required_list(description, key);
  if (token.size() != 2) throw pare::FormatError("field " + in_quotes(key) + " is no token");
  return {pare::with_context("field " + in_quotes(key), [&] { return to_id(token[1]); })};
}

std::unique_ptr<Template> read_roberta(const json& description) {
  const auto begin = token_of(description, "cls"), end = token_of(description, "sep");
  const Template::Part first{What::first_text, 0}, second{What::second_text, 0};
  const Template::Part before{What::special, 0, begin}, after{What::special, 0, end};
  return std::make_unique<Template>(
      Template{{before, first, after}, {before, first, after, after, second, after}, false});
}

std::vector<Id> special_ids(const json& tokens, const std::string& name) {
  const json* token = pare::find_field(tokens, {name});
  if (!token) throw pare::FormatError("the special token " + in_quotes(name) + " is missing");
  std::vector<Id> ids;
  for (const json& id : required_list(*token, "ids")) ids.push_back(to_id(id));
  return ids;
}

std::vector<Template::Part> read_parts(const json& description, const char* key) {
  const json* tokens = pare::find_field(description, {"special_tokens"});
  const json nothing = json::object();
  std::vector<Template::Part> parts;
  std::size_t first = 0, second = 0, special = 0;
  for (const json& part : required_list(description, key)) {
    const json* sequence = pare::find_field(part, {"Sequence"});
    const json& what = sequence ? *sequence : required(part, "SpecialToken");
    const auto id = required_as<std::string>(what, "id");
    const auto type = required_as<std::int32_t>(what, "type_id");
    if (!sequence) {
      parts.push_back({What::special, type, special_ids(tokens ? *tokens : nothing, id)});
      special += parts.back().ids.size();
      if (special > most_special_tokens)
        throw pare::FormatError("more than " + std::to_string(most_special_tokens) +
                                " special tokens");
      continue;
    }
    if (id != "A" && id != "B") throw pare::FormatError("there is no sequence " + in_quotes(id));
    ++(id == "A" ? first : second);
    parts.push_back({id == "A" ? What::first_text : What::second_text, type});
  }
  const bool is_pair = std::string_view(key) == "pair";
  if (first != 1 || second != (is_pair ? 1 : 0))
    throw pare::FormatError("it does not have " +
                            std::string(is_pair ? "A and B once each" : "A once"));
  return parts;
}

std::unique_ptr<Template> read_template(const json& description) {
  Template result;
  result.adds_nothing = false;
  const auto read = [&](const char* key) {
    return pare::with_context(in_quotes(key), [&] { return read_parts(description, key); });
  };
  result.single = read("single");
  result.pair = read("pair");
  return std::make_unique<Template>(std::move(result));
}

std::unique_ptr<Template> read_processor(const json& description);

std::unique_ptr<Template> read_sequence(const json& description) {
  auto result = std::make_unique<Template>();
  for (const json& part : required_list(description, "processors")) {
    auto next = read_processor(part);
    if (next->adds_nothing) continue;
    if (!result->adds_nothing)
      throw pare::FormatError("more than one that adds tokens is not supported");
    result = std::move(next);
  }
  return result;
}

constexpr ComponentType<Template> post_processor_types[] = {
    {"Sequence", read_sequence},
    {"TemplateProcessing", read_template},
    {"RobertaProcessing", read_roberta},
    {"ByteLevel", read_byte_level},
};

std::unique_ptr<Template> read_processor(const json& description) {
  return read_component<Template>(post_processor_types, "post_processor", description);
}

}  // namespace

Encoding wrap(const Template& around, const std::vector<Id>& first, const std::vector<Id>* second) {
  Encoding encoding;
  for (const Template::Part& part : second ? around.pair : around.single) {
    const auto& ids = part.what == What::special      ? part.ids
                      : part.what == What::first_text ? first
                                                      : *second;
    encoding.ids.insert(encoding.ids.end(), ids.begin(), ids.end());
    encoding.type_ids.resize(encoding.ids.size(), part.type_id);
  }
  return encoding;
}

Template read_post_processor(const json& description) {
  if (description.is_null()) return {};
  require_few_components(description, "processors");
  return std::move(*read_processor(description));
}

}  // namespace tokenizer
