#pragma once

#include <array>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// Most tokens of any register tile.
inline constexpr Index max_tile_tokens = 16;

/// Register tiles by their number of tokens, up to a largest. TokenTiles makes no tile smaller than
/// half the largest unless there are fewer tokens: tables of tiles for many tokens start there.
template <class Tile>
struct TileTable {
  std::array<Tile, max_tile_tokens + 1> tiles{};

  [[nodiscard]] constexpr Tile operator[](Index tokens) const noexcept {
    return tiles[static_cast<std::size_t>(tokens)];
  }
  [[nodiscard]] constexpr Index largest() const noexcept {
    Index tokens = max_tile_tokens;
    while (tokens > 0 && !tiles[static_cast<std::size_t>(tokens)]) --tokens;
    return tokens;
  }
};

}  // namespace pare::kernels
