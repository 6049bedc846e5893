#pragma once

#include <array>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// Most tokens of any register tile.
inline constexpr Index max_tile_tokens = 32;

/// Register tiles by their number of tokens, up to a largest. TokenTiles makes no tile smaller than
/// half the largest unless there are fewer tokens: tables of tiles for many tokens start there.
/// They may leave out numbers, which saves time to compile them: see step().
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
  /// What numbers of tokens are multiples of: the distance of the two largest.
  [[nodiscard]] constexpr Index step() const noexcept {
    Index step = 1;
    while (step < largest() && !(*this)[largest() - step]) ++step;
    return step;
  }
};

}  // namespace pare::kernels
