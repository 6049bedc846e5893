#pragma once

#include <cstddef>

namespace pare {

/// Sizes, indices and strides: a signed count of elements.
using Index = std::ptrdiff_t;

[[nodiscard]] constexpr Index ceil_div(Index a, Index b) noexcept { return (a + b - 1) / b; }
[[nodiscard]] constexpr Index round_up(Index a, Index multiple) noexcept {
  return ceil_div(a, multiple) * multiple;
}

}  // namespace pare
