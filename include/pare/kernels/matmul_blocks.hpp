#pragma once

#include <algorithm>

#include "pare/core/tensor_view.hpp"
#include "pare/kernels/execution.hpp"

/// How the matmul drivers cut their work; nothing here depends on the number of threads.
namespace pare::kernels {

/// Tokens in tiles of at most `largest`, all of nearly the same size: a small last tile would
/// load as much for fewer products.
class TokenTiles {
 public:
  TokenTiles(Index tokens, Index largest) noexcept
      : tokens_(tokens), count_(ceil_div(tokens, largest)) {
    if (count_ == 0) return;
    size_ = tokens / count_;
    larger_ = tokens % count_;
  }

  [[nodiscard]] Index tokens() const noexcept { return tokens_; }
  [[nodiscard]] Index count() const noexcept { return count_; }
  /// Tokens of the largest tile.
  [[nodiscard]] Index largest() const noexcept { return size_ + (larger_ > 0); }
  [[nodiscard]] Index begin(Index tile) const noexcept {
    return tile * size_ + std::min(tile, larger_);
  }
  [[nodiscard]] Index size(Index tile) const noexcept { return size_ + (tile < larger_); }

 private:
  Index tokens_, count_;
  Index size_ = 0;    ///< of the smaller tiles, which come last
  Index larger_ = 0;  ///< tiles with one token more
};

/// Calls `f(token, count)` for tiles [first, last).
template <class F>
void for_each_tile(const TokenTiles& tiles, Index first, Index last, F&& f) {
  for (Index tile = first; tile < last; ++tile) f(tiles.begin(tile), tiles.size(tile));
}

/// The same for all tiles, in parallel; a token costs `token_work` multiply-adds.
template <class F>
void parallel_for_each_tile(const Execution& execution, const TokenTiles& tiles, Index token_work,
                            F&& f) {
  if (tiles.count() == 0) return;
  const Index tile_work = std::max<Index>(1, token_work * tiles.largest());
  const Index size = std::max<Index>(1, parallel_grain / tile_work);
  execution.parallel_for(ceil_div(tiles.count(), size), [&](Index block) {
    for_each_tile(tiles, block * size, std::min(tiles.count(), (block + 1) * size), f);
  });
}

/// Panels per parallel iteration where one costs `panel_work` multiply-adds; an even number.
[[nodiscard]] inline Index panel_block(Index panel_work, const MatmulTuning& tuning) noexcept {
  return round_up(std::max(tuning.panels, parallel_grain / std::max<Index>(1, panel_work)), 2);
}

}  // namespace pare::kernels
