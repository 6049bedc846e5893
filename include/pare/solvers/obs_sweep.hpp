#pragma once

#include <algorithm>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/core/lanes.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/kernels/lane_update.hpp"

namespace pare {

/// What the sweep does to a column: which value each weight keeps (a rounded one: GPTQ; itself or
/// zero: SparseGPT).
///
///     void begin_block(MatrixView<const float> w, Index begin, Index end, const Execution&);
///     void keep(Index column, Index row, Index rows, const float* values, float* kept);
///
/// `begin_block` comes before columns [begin, end) are visited; w holds in all columns what
/// previous blocks left. `keep` sets kept[l] for the weights values[l] of rows row + l, l < rows,
/// rows <= lane_count; both have lane_count elements, row is a multiple of it, and what is beyond
/// the rows counts nowhere; the block's k-th next column is at values + k lane_count, updated so
/// far up to the end of the column's strip (ObsSweepOptions). Different rows are kept concurrently,
/// the columns of a row in order.
template <class R>
concept ColumnRule = requires(R& rule, MatrixView<const float> w, Index i, const float* values,
                              float* kept, const Execution& execution) {
  rule.begin_block(w, i, i, execution);
  rule.keep(i, i, i, values, kept);
};

struct ObsSweepOptions {
  /// Columns between lazy updates: rules see the weights as updated by previous blocks only.
  Index block_size = 128;
  /// Columns of a block that are updated one after the other; their errors reach the block's
  /// columns after them all at once. A rule may look ahead to the end of its strip.
  Index strip = 16;
};

namespace detail {

/// The most that one update takes (LaneUpdate).
inline constexpr Index obs_update_depth = 16;

/// What the tiles of a block of columns share.
struct ObsBlock {
  Index begin, width, strip;
  /// The block of the factor on the diagonal, without gaps: its rows in the factor lie so that a
  /// cache has few places for them.
  MatrixView<const float> upper;
  LaneUpdate update;
  kernels::GemmKernel<float> transposer;
};

/// Sweeps the block's columns of up to lane_count rows; a block of them stays in L1. Leaves their
/// errors, (rows, width), for the columns after the block.
template <ColumnRule Rule>
void obs_sweep_tile(const ObsBlock& block, MatrixView<float> w, Index row, Rule& rule,
                    MatrixView<float> errors, VectorView<double> loss) {
  constexpr Index lanes = lane_count;
  const Index rows = w.rows(), width = block.width, size = width * lanes;
  AlignedVector<float> memory(static_cast<std::size_t>(2 * size));
  float* const tile = memory.data();
  float* const tile_errors = tile + size;
  gather_block(block.transposer, width, rows, w.data(), w.stride(1), w.stride(0), tile, lanes);

  alignas(tensor_alignment_bytes) float kept[lanes] = {};
  for (Index strip = 0; strip < width; strip += block.strip) {
    const Index end = std::min(width, strip + block.strip);
    for (Index k = strip; k < end; ++k) {
      float* const values = tile + k * lanes;
      float* const error = tile_errors + k * lanes;
      const float* u = &block.upper(k, k);
      rule.keep(block.begin + k, row, rows, values, kept);
      const Quotients by_pivot(u[0]);
      for (Index first = 0; first < lanes; first += step_lanes) {
        float some[step_lanes];
        PARE_UNROLL
        for (Index l = 0; l < step_lanes; ++l)
          some[l] = by_pivot(values[first + l] - kept[first + l]);
        std::copy_n(some, step_lanes, error + first);
      }
      std::copy_n(kept, lanes, values);
      block.update(1, u + 1, 0, error, end - k - 1, values + lanes);
    }
    for (Index c = strip; c < end && end < width; c += obs_update_depth)
      block.update(std::min(obs_update_depth, end - c), &block.upper(c, end), block.upper.stride(0),
                   tile_errors + c * lanes, width - end, tile + end * lanes);
  }

  double squares[lanes] = {};
  for (Index k = 0; k < size; k += lanes)
    for (Index l = 0; l < lanes; ++l) {
      const double e = static_cast<double>(tile_errors[k + l]);
      squares[l] += e * e;
    }
  for (Index l = 0; l < rows; ++l) loss[l] += squares[l];
  const auto put = [&](const float* from, MatrixView<float> to) {
    if (to.stride(1) == 1)
      return gather_block(block.transposer, rows, width, from, 1, lanes, to.data(), to.stride(0));
    for (Index l = 0; l < rows; ++l)
      for (Index k = 0; k < width; ++k) to(l, k) = from[k * lanes + l];
  };
  put(tile, w);
  put(tile_errors, errors);
}

}  // namespace detail

/// The optimal-brain-surgeon sweep that GPTQ and SparseGPT share: column after column takes the
/// values its rule keeps, and the columns not yet visited move to make up for the error.
///
///     e = (w_c - kept_c) / U_cc;  w_j -= e U_cj for j > c;  inverse(H) = Uᵀ U
///
/// Shapes    w (rows, n), replaced by the kept values; upper U (n, n), upper triangular
/// Returns   the sum of e^2: in exact arithmetic the loss tr(dW H dWᵀ) this causes
/// Errors    ShapeError; ArgumentError for a block size or a strip below 1
/// Accuracy  float32; the loss in float64
/// Order     independent of the number of threads. The options are part of the result
/// Source    Frantar et al., "GPTQ", 2022, Alg. 1; Frantar and Alistarh, "SparseGPT", 2023, Alg. 1
template <ColumnRule Rule>
double obs_sweep(MatrixView<float> w, const Matrix<float>& upper, Rule& rule,
                 const ObsSweepOptions& options = {}, const Execution& execution = {}) {
  const Index block_size = options.block_size;
  const Index rows = w.rows(), n = w.cols();
  if (upper.rows() != n || upper.cols() != n)
    throw ShapeError("the factor of shape " + to_string(upper.shape()) +
                     " does not fit the weight of shape " + to_string(w.shape()));
  if (block_size < 1)
    throw ArgumentError("the block size of the sweep is " + std::to_string(block_size));
  if (options.strip < 1)
    throw ArgumentError("a strip of the sweep has " + std::to_string(options.strip) + " columns");

  const LaneUpdate update = select_lane_update(execution);
  const auto transposer = kernels::select_gemm_kernel<float>(execution.force);
  // Columns far ahead are updated by several blocks at once: they pass through memory less often.
  const Index lazy = std::max<Index>(1, kernels::gemm_depth<float> / block_size) * block_size;
  Matrix<float> errors({rows, std::min(lazy, n)});
  Matrix<float> diagonal({std::min(block_size, n), std::min(block_size, n)});
  Vector<double> loss({rows});
  const auto spread = [&](Index begin, Index end, Index first, Index last) {
    gemm(-1.0f, errors.view().slice(1, begin % lazy, end - begin),
         upper.view().slice(0, begin, end - begin).slice(1, first, last - first),
         w.slice(1, first, last - first), execution);
  };
  for (Index begin = 0; begin < n; begin += block_size) {
    const Index width = std::min(block_size, n - begin), end = begin + width;
    for (Index k = 0; k < width; ++k)
      std::copy_n(&upper(begin + k, begin + k), width - k, &diagonal(k, k));
    rule.begin_block(w, begin, end, execution);
    const detail::ObsBlock block{begin, width, options.strip, diagonal, update, transposer};
    const MatrixView<float> block_errors = errors.view().slice(1, begin % lazy, width);
    execution.parallel_for(ceil_div(rows, lane_count), [&](Index tile) {
      const Index row = tile * lane_count, count = std::min(lane_count, rows - row);
      detail::obs_sweep_tile(block, w.slice(0, row, count).slice(1, begin, width), row, rule,
                             block_errors.slice(0, row, count), loss.view().slice(0, row, count));
    });
    const Index lazy_begin = begin / lazy * lazy, lazy_end = std::min(n, lazy_begin + lazy);
    if (end < lazy_end)
      spread(begin, end, end, lazy_end);
    else
      spread(lazy_begin, end, end, n);
  }
  double total = 0.0;
  for (Index i = 0; i < rows; ++i) total += loss[i];
  return total;
}

}  // namespace pare
