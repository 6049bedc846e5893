#pragma once

#include "pare/kernels/contract/tile_table.hpp"
#include "pare/kernels/kernel_name.hpp"
#include "pare/kernels/layout/packed_layout.hpp"

/// What an implementation of the float matmul supplies: plain functions, noexcept and free of
/// allocation. The driver (matmul_float.hpp) owns loops and memory.
namespace pare::kernels {

/// Where a tile's result goes.
struct FloatResult {
  float* y;
  Index y_stride;
  const float* bias;  ///< one per channel of the tile; null: y already holds a part of the sum
  bool accumulate;    ///< with bias: y is added as well
};

/// In a tile of t tokens activations lie as x[k][t], zero in the padding of groups.
struct FloatKernel {
  /// One panel of packed codes, few tokens: codes are decoded in registers. `group_sums[group][t]`
  /// holds the sums of x over each group; read only with zero points.
  using Few = void (*)(const PackedPanel&, const float* x, const float* group_sums,
                       const FloatResult&) noexcept;
  /// values[k][32] of `units` units of two panels, from `first_unit` on: one panel's half.
  using Decode = void (*)(const PackedPanel&, Index first_unit, Index units,
                          float* values) noexcept;
  /// y[token][32] += x[k][token] * values[k][32], the sum over k formed first.
  using Tile = void (*)(const float* x, const float* values, Index k_count,
                        const FloatResult&) noexcept;

  KernelName name;
  TileTable<Few> few;  ///< may be empty
  TileTable<Tile> tiles;
  Decode decode;
};

}  // namespace pare::kernels
