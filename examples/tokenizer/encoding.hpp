#pragma once

#include <cstdint>
#include <vector>

#include "tokenizer/id.hpp"

namespace tokenizer {

/// Tokens of one text or two.
struct Encoding {
  std::vector<Id> ids;
  std::vector<std::int32_t> type_ids;  ///< which text a token belongs to, as the model counts them
};

}  // namespace tokenizer
