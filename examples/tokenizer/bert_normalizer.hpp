#pragma once

#include "tokenizer/normalizers.hpp"

namespace tokenizer {

/// What BERT does before it cuts: no control characters, spaces around ideographs, no accents,
/// lower case, each if asked for.
[[nodiscard]] std::unique_ptr<Normalizer> read_bert_normalizer(const nlohmann::json& description);

}  // namespace tokenizer
