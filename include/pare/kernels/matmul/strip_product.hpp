#pragma once

#include <algorithm>

#include "pare/kernels/matmul/integer_arrangement.hpp"
#include "pare/kernels/matmul/integer_product.hpp"

namespace pare::kernels::detail {

[[nodiscard]] inline SparseStrip strip_at(const PackedView& w, Index strip) noexcept {
  const SparseCodes& sparse = w.sparse;
  const Index panel = strip * (sparse.channels / panel_channels);
  const Index first = sparse.first_blocks[strip];
  // A last panel without a neighbour is its own: the result is dropped.
  return {sparse.codes + first * sparse.channels * 4,
          sparse.quads + first,
          sparse.first_blocks[strip + 1] - first,
          sparse.compensation + strip * sparse.channels,
          {w.panel(panel), w.panel(std::min(panel + 1, w.panels() - 1))},
          nullptr,
          0};
}

/// Tiles that skip activations, strip by strip. `first_panel` is even.
inline void multiply_strips(const IntegerProduct& p, const IntegerArrangement& x, Index first_panel,
                            Index last_panel, Index first_tile, Index last_tile) {
  const Index channels = p.w.sparse.channels, panels = channels / panel_channels;
  const TokenTiles& tiles = x.tiles();
  for (Index index = first_panel / panels; index < ceil_div(last_panel, panels); ++index) {
    SparseStrip strip = strip_at(p.w, index);
    const Index channel = index * channels, bytes = strip.blocks * channels * 4;
    IntegerResult result{nullptr, 0,   p.start + channel, p.bias + channel, p.accumulate, nullptr,
                         true,    true};
    // Tiles ask for the next strip, a part each: otherwise far memory idles while they compute.
    const Index tile_bytes = bytes / (last_tile - first_tile);
    strip.ahead = reinterpret_cast<const char*>(strip.codes) + bytes;
    strip.ahead_step_bytes = ceil_div(tile_bytes, std::max<Index>(1, strip.blocks));
    for_each_tile(tiles, first_tile, last_tile, [&](Index token, Index count) {
      with_result(p, token, count, channel, channels, result,
                  [&] { p.sparse->tiles[count](strip, x.tile(token, count, 0, 0), result); });
      strip.ahead += tile_bytes;
    });
  }
}

}  // namespace pare::kernels::detail
