#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "tokenizer/encoding.hpp"

namespace tokenizer {

/// What stands around one text or two.
struct Template {
  enum class What { special, first_text, second_text };
  struct Part {
    What what;
    std::int32_t type_id;
    std::vector<Id> ids{};  ///< of special tokens
  };
  std::vector<Part> single{{What::first_text, 0}};
  std::vector<Part> pair{{What::first_text, 0}, {What::second_text, 1}};
  bool adds_nothing = true;
};

/// Puts texts between special tokens; `second` may be nullptr.
[[nodiscard]] Encoding wrap(const Template& around, const std::vector<Id>& first,
                            const std::vector<Id>* second);

/// Reads a "post_processor"; null adds nothing. Throws FormatError naming a type that is not known.
[[nodiscard]] Template read_post_processor(const nlohmann::json& description);

}  // namespace tokenizer
