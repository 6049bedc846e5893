#pragma once

#include <algorithm>

#include "pare/core/tensor_view.hpp"
#include "pare/kernels/contract/sparse.hpp"
#include "pare/kernels/matmul_tuning.hpp"

namespace pare::kernels {

/// Segments that are decoded at once, at most: their scales are 16 KiB.
inline constexpr Index decoded_segments = 128;

/// A product whose activations are arranged, with its padded rows of parameters.
struct IntegerProduct {
  const IntegerKernel* kernel;
  PackedView w;
  MatrixView<float> y;
  bool accumulate;
  const float* start;          ///< [panels][16]
  const float* bias;           ///< [panels][16]
  const SparseKernel* sparse;  ///< tiles for the blocks of w.sparse, or null
  MatmulTuning tuning;
};

namespace detail {

inline constexpr Index pair_channels = 2 * panel_channels;

/// Runs `tile()` on y's part for `count` tokens and `channels` channels from `channel` on;
/// on a copy where the matrix has fewer left, of tokens or of channels. Fills in what is known here
/// of `result`, which is not copied: copying flags just written waits for all stores of the tile
/// before.
template <class Tile>
void with_result(const IntegerProduct& p, Index token, Index count, Index channel, Index channels,
                 IntegerResult& result, Tile&& tile) {
  result.y = &p.y(token, channel);
  result.y_stride = p.y.stride(0);
  const Index left = std::min(p.y.cols() - channel, channels);
  const Index rows = std::min(p.y.rows() - token, count);
  if (left == channels && rows == count) return tile();
  float edge[max_tile_tokens * pair_channels];
  std::fill_n(edge, count * pair_channels, 0.0f);
  for (Index t = 0; t < rows; ++t)
    std::copy_n(&p.y(token + t, channel), left, edge + t * pair_channels);
  result.y = edge;
  result.y_stride = pair_channels;
  tile();
  for (Index t = 0; t < rows; ++t)
    std::copy_n(edge + t * pair_channels, left, &p.y(token + t, channel));
}

}  // namespace detail

}  // namespace pare::kernels
