#pragma once

#include <algorithm>

#include "pare/core/tensor_view.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/matmul_kernels.hpp"

/// How the matmul drivers cut their work; nothing here depends on the number of threads.
namespace pare::kernels {

/// Panels per parallel iteration: activations are read from far caches once for 64 channels.
inline constexpr Index panels_per_block = 4;

/// Calls `f(first, last)` for blocks of panels, in parallel.
template <class F>
void for_each_panel_block(const Execution& execution, Index panels, F&& f) {
  execution.parallel_for(ceil_div(panels, panels_per_block), [&](Index block) {
    const Index first = block * panels_per_block;
    f(first, std::min(panels, first + panels_per_block));
  });
}

/// Calls `f(token, count)` for the register tiles that cover tokens [begin, end).
template <class Tile, class F>
void for_each_tile(const TileTable<Tile>& tiles, Index begin, Index end, F&& f) {
  for (Index token = begin, count; token < end; token += count) {
    count = tiles.tokens_of_next(end - token);
    f(token, count);
  }
}

/// The same tiles as for_each_tile over [0, tokens), in parallel.
template <class Tile, class F>
void parallel_for_each_tile(const Execution& execution, const TileTable<Tile>& tiles, Index tokens,
                            F&& f) {
  const Index largest = tiles.largest();
  execution.parallel_for(ceil_div(tokens, largest), [&](Index block) {
    for_each_tile(tiles, block * largest, std::min(tokens, (block + 1) * largest), f);
  });
}

/// Runs `tile(out, stride)` on the part of y for `count` tokens and 16 channels, on a copy where
/// the matrix has fewer channels left.
template <class Tile>
void run_tile(MatrixView<float> y, Index token, Index count, Index channel, Tile&& tile) {
  const Index channels = y.cols() - channel;
  if (channels >= panel_channels) return tile(&y(token, channel), y.stride(0));
  float edge[max_tile_tokens * panel_channels] = {};
  for (Index t = 0; t < count; ++t)
    std::copy_n(&y(token + t, channel), channels, edge + t * panel_channels);
  tile(edge, panel_channels);
  for (Index t = 0; t < count; ++t)
    std::copy_n(edge + t * panel_channels, channels, &y(token + t, channel));
}

}  // namespace pare::kernels
