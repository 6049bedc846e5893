#pragma once

#include <array>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// Most tokens of any register tile.
inline constexpr Index max_tile_tokens = 14;

/// Register tiles by their number of tokens: 1, 2, ... largest.
template <class Tile>
struct TileTable {
  std::array<Tile, max_tile_tokens + 1> tiles{};

  [[nodiscard]] constexpr Tile operator[](Index tokens) const noexcept {
    return tiles[static_cast<std::size_t>(tokens)];
  }
  [[nodiscard]] constexpr Index largest() const noexcept {
    Index tokens = 0;
    while (tokens < max_tile_tokens && tiles[static_cast<std::size_t>(tokens) + 1]) ++tokens;
    return tokens;
  }
};

}  // namespace pare::kernels
