#pragma once

#include <algorithm>

#include "pare/core/tensor_view.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/matmul_kernels.hpp"

/// How the matmul drivers cut their work; nothing here depends on the number of threads.
namespace pare::kernels {

/// Panels per parallel iteration, at least: activations are read from far caches once for 64
/// channels.
inline constexpr Index panels_per_block = 4;

/// Calls `f(first, last)` for blocks of panels, in parallel. A panel costs `panel_work`
/// multiply-adds.
template <class F>
void for_each_panel_block(const Execution& execution, Index panels, Index panel_work, F&& f) {
  const Index size = std::max(panels_per_block, parallel_grain / std::max<Index>(1, panel_work));
  execution.parallel_for(ceil_div(panels, size), [&](Index block) {
    f(block * size, std::min(panels, (block + 1) * size));
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

/// The same tiles as for_each_tile over [0, tokens), in parallel; a token costs `token_work`.
template <class Tile, class F>
void parallel_for_each_tile(const Execution& execution, const TileTable<Tile>& tiles, Index tokens,
                            Index token_work, F&& f) {
  const Index grain = parallel_grain / std::max<Index>(1, token_work);
  const Index size = std::max<Index>(1, grain / tiles.largest()) * tiles.largest();
  execution.parallel_for(ceil_div(tokens, size), [&](Index block) {
    for_each_tile(tiles, block * size, std::min(tokens, (block + 1) * size), f);
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
