#pragma once

#include <algorithm>

#include "pare/core/tensor_view.hpp"
#include "pare/kernels/execution.hpp"

/// How the matmul drivers cut their work; nothing here depends on the number of threads.
namespace pare::kernels {

/// Tokens in tiles of at most `largest`, all of nearly the same size: a small last tile would
/// load as much for fewer products. Sizes are multiples of `step`, as `largest` is: the last tile
/// is filled up with copies of the last token, whose results nobody reads.
class TokenTiles {
 public:
  TokenTiles(Index tokens, Index largest, Index step = 1) noexcept
      : tokens_(tokens), count_(ceil_div(tokens, largest)), step_(step) {
    if (count_ == 0) return;
    const Index steps = ceil_div(tokens, step);
    size_ = steps / count_ * step;
    larger_ = steps % count_;
  }

  [[nodiscard]] Index tokens() const noexcept { return tokens_; }
  /// With those that fill up the last tile.
  [[nodiscard]] Index padded_tokens() const noexcept { return round_up(tokens_, step_); }
  [[nodiscard]] Index count() const noexcept { return count_; }
  /// Tokens of the largest tile.
  [[nodiscard]] Index largest() const noexcept { return size_ + (larger_ > 0 ? step_ : 0); }
  [[nodiscard]] Index begin(Index tile) const noexcept {
    return tile * size_ + std::min(tile, larger_) * step_;
  }
  [[nodiscard]] Index size(Index tile) const noexcept {
    return size_ + (tile < larger_ ? step_ : 0);
  }
  [[nodiscard]] bool is_padded(Index tile) const noexcept {
    return begin(tile) + size(tile) > tokens_;
  }

 private:
  Index tokens_, count_, step_;
  Index size_ = 0;    ///< of the smaller tiles, which come last
  Index larger_ = 0;  ///< tiles with one step more
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
