#include "tokenizer/models.hpp"

#include "tokenizer/component_list.hpp"

namespace tokenizer {
namespace {

constexpr ComponentType<Model> model_types[] = {
    {"BPE", read_byte_pair_encoding},
    {"Unigram", read_unigram},
    {"WordPiece", read_word_piece},
};

}  // namespace

std::unique_ptr<Model> read_model(const nlohmann::json& description) {
  // Files such as GPT-2's and BERT's own do not say the type; their fields do.
  if (description.is_object() && !description.contains("type")) {
    if (description.contains("merges"))
      return pare::with_context("model", [&] { return read_byte_pair_encoding(description); });
    if (description.contains("max_input_chars_per_word"))
      return pare::with_context("model", [&] { return read_word_piece(description); });
  }
  return read_component<Model>(model_types, "model", description);
}

}  // namespace tokenizer
