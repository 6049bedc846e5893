#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <string>

#include "pare/core/tensor.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/quantization/row_quantizer.hpp"

/// Blocks that are more than a part of a row: all their weights are fitted before any is encoded.
namespace pare::detail {

/// What the options of a method say about blocks. Throws ArgumentError where they say it twice.
[[nodiscard]] inline BlockShape block_shape(Index group_size,
                                            const std::optional<BlockShape>& blocks) {
  if (!blocks) return BlockShape::groups(group_size);
  if (group_size != -1 && *blocks != BlockShape::groups(group_size))
    throw ArgumentError("a group size of " + std::to_string(group_size) +
                        " contradicts the shape of blocks");
  return *blocks;
}

/// Weights of block [i, j] of q's grid without gaps: in w itself where they lie so, else copied.
template <Format F>
[[nodiscard]] VectorView<const float> gather_block(MatrixView<const float> w,
                                                   const QuantizedMatrix<F>& q, Index i, Index j,
                                                   Vector<float>& copy) {
  const Index cols = q.cols(), length = q.group_length();
  Index count = 0;
  q.for_each_group(i, j, [&](Index, Index g) { count += std::min(length, cols - g * length); });
  const auto [row, group] = q.block_begin(i, j);
  if (w.stride(1) == 1 && w.stride(0) == cols && (q.blocks().flat || q.groups() == 1))
    return {&w(row, group * length), {count}};
  copy = Vector<float>({count});
  float* to = copy.data();
  q.for_each_group(i, j, [&](Index r, Index g) {
    for (Index k = g * length; k < std::min(cols, (g + 1) * length); ++k) *to++ = w(r, k);
  });
  return copy;
}

/// Parameters of every block of q.
template <Format F>
[[nodiscard]] RowResult fit_blocks(MatrixView<const float> w, const RowQuantizer& quantizer,
                                   const TensorParameters<F>& tensor, const Execution& execution,
                                   QuantizedMatrix<F>& q) {
  std::atomic<bool> finite = true, fits = true;
  const auto [rows, cols] = q.block_grid();
  execution.parallel_for(rows * cols, [&, cols = cols](Index block) {
    const Index i = block / cols, j = block % cols;
    Vector<float> copy;
    const VectorView<const float> weights = gather_block(w, q, i, j, copy);
    const auto parameters =
        quantizer.fit<F>(weights.data(), weights.size(), q.scale_type(), tensor);
    if (!parameters)
      finite.store(false);
    else if (!is_usable<F>(*parameters))
      fits.store(false);
    else
      q.set_block(i, j, *parameters);
  });
  if (!finite) return RowResult::not_finite;
  return fits ? RowResult::done : RowResult::scale_does_not_fit;
}

}  // namespace pare::detail
