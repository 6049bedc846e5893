#pragma once

#include "tokenizer/json_fields.hpp"
#include "tokenizer/vocabulary.hpp"

namespace tokenizer {

/// The field "vocab" as an object of texts and their numbers.
[[nodiscard]] inline Vocabulary read_vocabulary(const nlohmann::json& description) {
  const auto& vocab = required(description, "vocab");
  if (!vocab.is_object()) throw pare::FormatError("field \"vocab\" is not an object");
  std::vector<std::pair<std::string, Id>> tokens;
  tokens.reserve(vocab.size());
  for (const auto& [text, id] : vocab.items())
    tokens.emplace_back(text, pare::with_context("token " + in_quotes(text),
                                                 [&, &value = id] { return to_id(value); }));
  return Vocabulary(std::move(tokens));
}

}  // namespace tokenizer
