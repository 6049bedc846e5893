#pragma once

#include "pare/kernels/contract/integer.hpp"

namespace pare::kernels {

/// Runs of tiles by 16 channels for families without a target attribute of their own.
template <auto Tile, int Tokens>
void run_tiles(const IntegerWeights& weights, const IntegerTokens& tokens,
               const IntegerResult& results, const TileRun& run) noexcept {
  IntegerWeights w = weights;
  IntegerTokens x = tokens;
  IntegerResult result = results;
  for (Index i = 0; i < run.tiles; ++i) {
    Tile(w, x, result);
    advance(w, x, result, run, Tokens, panel_channels);
  }
}

}  // namespace pare::kernels
