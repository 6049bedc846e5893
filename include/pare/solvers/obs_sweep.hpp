#pragma once

#include <algorithm>
#include <string>

#include "pare/core/error.hpp"
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
/// rows <= lane_count; the block's k-th next column, updated so far, is at values + k lane_count.
/// Different rows are kept concurrently, the columns of a row in order.
template <class R>
concept ColumnRule = requires(R& rule, MatrixView<const float> w, Index i, const float* values,
                              float* kept, const Execution& execution) {
  rule.begin_block(w, i, i, execution);
  rule.keep(i, i, i, values, kept);
};

namespace detail {

/// Sweeps columns [begin, begin + width) of up to lane_count rows; a block of them stays in L1.
/// Leaves the errors, (width, lane_count) with `errors.stride(0)`, for the columns after the block.
template <ColumnRule Rule>
void obs_sweep_tile(MatrixView<float> w, const Matrix<float>& upper, Index begin, Index row,
                    Rule& rule, LaneUpdate update, MatrixView<float> errors,
                    VectorView<double> loss) {
  constexpr Index lanes = lane_count;
  const Index rows = w.rows(), width = w.cols();
  AlignedVector<float> tile(static_cast<std::size_t>(width * lanes));
  for (Index l = 0; l < rows; ++l)
    for (Index k = 0; k < width; ++k) tile[static_cast<std::size_t>(k * lanes + l)] = w(l, k);

  alignas(tensor_alignment_bytes) float kept[lanes] = {};
  for (Index k = 0; k < width; ++k) {
    float* values = tile.data() + k * lanes;
    float* error = &errors(k, 0);
    const float* u = &upper(begin + k, begin + k);
    rule.keep(begin + k, row, rows, values, kept);
    for (Index l = 0; l < lanes; ++l) error[l] = (values[l] - kept[l]) / u[0];
    update(u + 1, error, width - k - 1, values + lanes);
    for (Index l = 0; l < rows; ++l) {
      w(l, k) = kept[l];
      loss[l] += static_cast<double>(error[l]) * static_cast<double>(error[l]);
    }
  }
}

}  // namespace detail

/// The optimal-brain-surgeon sweep that GPTQ and SparseGPT share: column after column takes the
/// values its rule keeps, and the columns not yet visited move to make up for the error.
///
///     e = (w_c - kept_c) / U_cc;  w_j -= e U_cj for j > c;  inverse(H) = Uᵀ U
///
/// Shapes    w (rows, n), replaced by the kept values; upper U (n, n), upper triangular
/// Returns   the sum of e^2: in exact arithmetic the loss tr(dW H dWᵀ) this causes
/// Errors    ShapeError; ArgumentError for a block size below 1
/// Accuracy  float32; the loss in float64
/// Order     independent of the number of threads. The block size is part of the result: rules
///           see the weights as updated by previous blocks only
/// Source    Frantar et al., "GPTQ", 2022, Alg. 1; Frantar and Alistarh, "SparseGPT", 2023, Alg. 1
template <ColumnRule Rule>
double obs_sweep(MatrixView<float> w, const Matrix<float>& upper, Rule& rule,
                 Index block_size = 128, const Execution& execution = {}) {
  constexpr Index lanes = lane_count;
  const Index rows = w.rows(), n = w.cols();
  if (upper.rows() != n || upper.cols() != n)
    throw ShapeError("the factor of shape " + to_string(upper.shape()) +
                     " does not fit the weight of shape " + to_string(w.shape()));
  if (block_size < 1)
    throw ArgumentError("the block size of the sweep is " + std::to_string(block_size));

  const LaneUpdate update = select_lane_update(execution);
  const Index tiles = ceil_div(rows, lanes);
  Matrix<float> errors({std::min(block_size, n), tiles * lanes});
  Vector<double> loss({rows});
  for (Index begin = 0; begin < n; begin += block_size) {
    const Index width = std::min(block_size, n - begin), end = begin + width;
    rule.begin_block(w, begin, end, execution);
    execution.parallel_for(tiles, [&](Index tile) {
      const Index row = tile * lanes, count = std::min(lanes, rows - row);
      detail::obs_sweep_tile(w.slice(0, row, count).slice(1, begin, width), upper, begin, row, rule,
                             update, errors.view().slice(1, row, lanes),
                             loss.view().slice(0, row, count));
    });
    gemm(-1.0f, errors.view().slice(0, 0, width).slice(1, 0, rows).transposed(),
         upper.view().slice(0, begin, width).slice(1, end, n - end), w.slice(1, end, n - end),
         execution);
  }
  double total = 0.0;
  for (Index i = 0; i < rows; ++i) total += loss[i];
  return total;
}

}  // namespace pare
