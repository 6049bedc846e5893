#pragma once

#include <algorithm>
#include <span>

#include "pare/kernels/matmul_blocks.hpp"
#include "pare/kernels/matmul_output.hpp"
#include "pare/kernels/scratch.hpp"

/// Float activations times packed codes: arrangement of activations, loops, memory.
namespace pare::kernels {

/// Input channels decoded at a time: with 32 channels 32 KiB of values, most of a first-level
/// cache; the activations of a tile stream past them.
inline constexpr Index decoded_columns = 256;

/// A product whose activations are arranged.
struct FloatProduct {
  const FloatKernel* kernel;
  PackedView w;
  MatrixView<float> y;
  bool accumulate;
  const float* bias;        ///< [panels][16]
  const float* x;           ///< tiles [k][t]
  const float* group_sums;  ///< [groups][t] of the only tile of few tokens, or null
};

namespace detail {

/// x[k][count] of one tile, columns in packed order, zero in the padding of groups.
inline void arrange_floats(MatrixView<const float> x, const PackedView& w, Index token, Index count,
                           float* out) noexcept {
  if (w.padded_cols() != w.cols) std::fill_n(out, w.padded_cols() * count, 0.0f);
  for (Index t = 0; t < count; ++t) {
    const float* row = x.data() + (token + t) * x.stride(0);
    for (Index g = 0, p = 0; g < w.groups(); ++g) {
      float* next = out + g * w.padded_group() * count + t;
      for (const Index end = std::min(p + w.group_length, w.cols); p < end; ++p, next += count)
        *next = row[(w.order ? w.order[p] : p) * x.stride(1)];
    }
  }
}

/// sums[group][count]
inline void sum_groups(const PackedView& w, const float* x, Index count, float* sums) noexcept {
  for (Index g = 0, k = 0; g < w.groups(); ++g, sums += count) {
    std::fill_n(sums, count, 0.0f);
    for (const Index end = std::min(w.padded_cols(), k + w.padded_group()); k < end; ++k)
      for (Index t = 0; t < count; ++t) sums[t] += x[k * count + t];
  }
}

/// Runs `tile(result)` on y's part for `count` tokens and `Channels` channels from `channel` on;
/// on a copy where the matrix has fewer left.
template <Index Channels, class Tile>
void with_float_result(const FloatProduct& p, Index token, Index count, Index channel, bool first,
                       Tile&& tile) {
  const Index channels = p.y.cols() - channel;
  FloatResult result{&p.y(token, channel), p.y.stride(0), first ? p.bias + channel : nullptr,
                     p.accumulate};
  if (channels >= Channels) return tile(result);
  float edge[max_tile_tokens * Channels] = {};
  for (Index t = 0; t < count; ++t)
    std::copy_n(&p.y(token + t, channel), channels, edge + t * Channels);
  result.y = edge;
  result.y_stride = Channels;
  tile(result);
  for (Index t = 0; t < count; ++t)
    std::copy_n(edge + t * Channels, channels, &p.y(token + t, channel));
}

/// Each piece of two panels is decoded once and used by every tile.
inline void multiply_decoded(const FloatProduct& p, const TokenTiles& tiles, Index panel) {
  alignas(64) float values[decoded_columns * 2 * panel_channels];
  // A last panel without a neighbour is its own: the result is dropped.
  const PackedPanel first = p.w.panel(panel);
  const PackedPanel second = p.w.panel(std::min(panel + 1, p.w.panels() - 1));
  const Index step = decoded_columns / p.w.unit;
  Index unit = 0;
  do {  // once without columns, for the bias
    const Index units = std::min(step, p.w.first.units - unit);
    p.kernel->decode(first, unit, units, values);
    p.kernel->decode(second, unit, units, values + panel_channels);
    for_each_tile(tiles, 0, tiles.count(), [&](Index token, Index count) {
      const float* x = p.x + token * p.w.padded_cols() + unit * p.w.unit * count;
      with_float_result<2 * panel_channels>(
          p, token, count, panel * panel_channels, unit == 0, [&](const FloatResult& result) {
            p.kernel->tiles[count](x, values, units * p.w.unit, result);
          });
    });
    unit += step;
  } while (unit < p.w.first.units);
}

inline void multiply_few(const FloatProduct& p, Index tokens, Index first_panel, Index last_panel) {
  for (Index panel = first_panel; panel < last_panel; ++panel)
    with_float_result<panel_channels>(
        p, 0, tokens, panel * panel_channels, true, [&](const FloatResult& result) {
          p.kernel->few[tokens](p.w.panel(panel), p.x, p.group_sums, result);
        });
}

inline void matmul_float(MatrixView<const float> x, const MatmulOutput& output,
                         const Execution& execution) {
  const PackedView& w = output.weight();
  const FloatKernel& kernel = output.float_kernel(execution.force);
  const Index tokens = x.rows(), padded = w.padded_cols();
  const bool few = tokens <= kernel.few.largest();
  const TokenTiles tiles(tokens, few ? tokens : kernel.tiles.largest());
  const Index padded_rows = round_up(w.rows, 2 * panel_channels);
  Scratch scratch(execution.workspace, Scratch::bytes<float>(tokens * padded) +
                                           Scratch::bytes<float>(few ? tokens * w.groups() : 0) +
                                           Scratch::bytes<float>(padded_rows));
  float* arranged = scratch.take<float>(tokens * padded);
  float* sums = scratch.take<float>(few ? tokens * w.groups() : 0);
  float* bias = scratch.take<float>(padded_rows);
  std::fill_n(bias, padded_rows, 0.0f);
  if (!output.options().bias.empty())
    for (Index n = 0; n < w.rows; ++n) bias[n] = output.options().bias[n];

  parallel_for_each_tile(execution, tiles, 8 * padded, [&](Index token, Index count) {
    arrange_floats(x, w, token, count, arranged + token * padded);
  });
  if (few && w.first.zero_points) sum_groups(w, arranged, tokens, sums);

  const FloatProduct product{&kernel, w,        output.y(), output.options().accumulate,
                             bias,    arranged, sums};
  const Index block = panel_block(panel_channels * tokens * padded);
  execution.parallel_for(ceil_div(w.panels(), block), [&](Index index) {
    const Index begin = index * block, end = std::min(begin + block, w.panels());
    if (few) return multiply_few(product, tokens, begin, end);
    for (Index panel = begin; panel < end; panel += 2) multiply_decoded(product, tiles, panel);
  });
}

}  // namespace detail

/// Products of the same activations; shapes fit and y have unit column stride.
inline void matmul_float(MatrixView<const float> x, std::span<const MatmulOutput> outputs,
                         const Execution& execution) {
  if (x.rows() == 0) return;
  for (const MatmulOutput& output : outputs) detail::matmul_float(x, output, execution);
}

}  // namespace pare::kernels
