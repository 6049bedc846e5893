#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace pare {

/// How a share of a number becomes a number. Tools differ: PyTorch rounds half to even, the authors
/// of Wanda and SparseGPT round down, those of OBC up.
enum class CountRounding : std::uint8_t { half_to_even, down, up };

/// How many of `n` weights go at a sparsity in [0, 1]: sparsity * n, rounded, as float64 has it.
/// Throws ArgumentError for another sparsity, NaN included.
[[nodiscard]] inline Index removed_count(Index n, double sparsity,
                                         CountRounding rounding = CountRounding::half_to_even) {
  if (!(sparsity >= 0.0 && sparsity <= 1.0))
    throw ArgumentError("a sparsity of " + std::to_string(sparsity) + " is outside [0, 1]");
  const double exact = sparsity * static_cast<double>(n), whole = std::floor(exact);
  const double rest = exact - whole;
  const bool is_up = rounding == CountRounding::up ? rest > 0.0
                     : rounding == CountRounding::half_to_even
                         ? rest > 0.5 || (rest == 0.5 && std::fmod(whole, 2.0) != 0.0)
                         : false;
  return static_cast<Index>(whole) + (is_up ? 1 : 0);
}

}  // namespace pare
