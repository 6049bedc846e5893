#pragma once

#include <cstdint>

namespace tokenizer {

/// The number of a token, from 0.
using Id = std::int32_t;

}  // namespace tokenizer
