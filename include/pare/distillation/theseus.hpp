#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"
#include "pare/core/random.hpp"

/// BERT-of-Theseus: modules of a trained model (predecessors) are replaced one by one by smaller
/// ones (successors) while these learn from the task's loss alone. Predecessors and all that has no
/// successor stay as they are; evaluation uses successors only. Source: Xu et al.,
/// "BERT-of-Theseus: Compressing BERT by Progressive Module Replacing", 2020, and the authors'
/// code.
namespace pare {

namespace detail {

inline void require_replacing_rate(double rate) {
  if (!(rate > 0.0 && rate <= 1.0))
    throw ArgumentError("the rate of replacing is " + std::to_string(rate) + ", outside (0, 1]");
}

}  // namespace detail

/// `rate` for the first `steps` steps, but at least one, then 1. Throws ArgumentError for a rate
/// outside (0, 1].
[[nodiscard]] inline double constant_replacing_rate(Index step, double rate, Index steps) {
  detail::require_replacing_rate(rate);
  return step < std::max<Index>(steps, 1) ? rate : 1.0;
}

/// min(base + slope step, 1). Throws ArgumentError for a base outside (0, 1] or a negative slope.
[[nodiscard]] inline double linear_replacing_rate(Index step, double base, double slope) {
  detail::require_replacing_rate(base);
  if (!(slope >= 0.0))
    throw ArgumentError("the rate of replacing grows by " + std::to_string(slope) + " a step");
  return std::min(base + slope * static_cast<double>(std::max<Index>(step, 0)), 1.0);
}

/// Which of the successors stand in for their predecessors in this forward pass: each by itself,
/// with the probability `rate`.
[[nodiscard]] inline std::vector<bool> replaced_modules(Index successors, double rate,
                                                        Random& random) {
  detail::require_replacing_rate(rate);
  std::vector<bool> is_replaced;
  for (Index s = 0; s < successors; ++s)
    is_replaced.push_back(static_cast<double>(random.uniform()) < rate);
  return is_replaced;
}

/// How many predecessors a successor replaces: of successor s those from s * that on. Throws
/// ArgumentError unless they divide.
[[nodiscard]] inline Index predecessors_per_successor(Index predecessors, Index successors) {
  if (successors < 1 || predecessors < successors || predecessors % successors != 0)
    throw ArgumentError(std::to_string(predecessors) + " modules are not replaced by " +
                        std::to_string(successors) + " in equal groups");
  return predecessors / successors;
}

}  // namespace pare
