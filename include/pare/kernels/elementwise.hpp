#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "pare/core/tensor.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/dispatch/elementwise.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/memory_tuning.hpp"

namespace pare {

namespace kernels {

/// For an output of `size_bytes` that is not read again soon.
[[nodiscard]] inline Store choose_store(Index size_bytes, const MemoryTuning& tuning) noexcept {
  return size_bytes >= tuning.streaming_bytes ? Store::streaming : Store::cached;
}

/// Calls f(row, begin, count) for pieces of the rows of a float matrix, in parallel: some rows, or
/// a part of one, per iteration. Pieces begin at multiples of 16 columns.
template <class F>
void for_each_piece(const Shape<2>& shape, const Execution& execution, const MemoryTuning& tuning,
                    F&& f) {
  const auto [rows, cols] = shape;
  if (rows == 0 || cols == 0) return;
  const Index floats = std::max<Index>(16, tuning.piece_bytes / Index{sizeof(float)} / 16 * 16);
  const Index length = std::min(cols, floats), across = ceil_div(cols, length);
  const Index height = std::max<Index>(1, floats / cols);
  execution.parallel_for(ceil_div(rows, height) * across, [&, rows = rows, cols = cols](Index i) {
    const Index begin = i % across * length, first = i / across * height;
    for (Index row = first; row < std::min(rows, first + height); ++row)
      f(row, begin, std::min(length, cols - begin));
    finish_streaming();
  });
}

}  // namespace kernels

/// The largest magnitude.
///
/// Shapes    x of any strides
/// Errors    ArgumentError for a forced kernel that cannot run
/// Edge      0 for no elements; NaN or infinity when an element is one
/// Order     bit-identical for all kernels and thread counts
[[nodiscard]] inline float absmax(MatrixView<const float> x, const Execution& execution = {},
                                  const MemoryTuning& tuning = {}) {
  const kernels::ElementwiseKernel& kernel = kernels::elementwise_kernel(execution.force);
  if (x.stride(1) != 1 && x.stride(0) == 1) x = x.transposed();
  // Magnitudes compare as integers, with infinity and NaN on top.
  std::atomic<std::uint32_t> largest = 0;
  kernels::for_each_piece(x.shape(), execution, tuning, [&](Index i, Index begin, Index count) {
    std::uint32_t bits = 0;
    if (x.stride(1) == 1)
      bits = std::bit_cast<std::uint32_t>(kernel.absmax(&x(i, begin), count));
    else
      for (Index j = begin; j < begin + count; ++j)
        bits = std::max(bits, std::bit_cast<std::uint32_t>(x(i, j)) & 0x7fffffffu);
    std::uint32_t seen = largest.load(std::memory_order_relaxed);
    while (bits > seen && !largest.compare_exchange_weak(seen, bits)) continue;
  });
  return std::bit_cast<float>(largest.load());
}

/// The values that the codes stand for, in memory of the caller's.
///
/// Shapes    values (rows, cols), any strides, column stride 1 is fast
/// Errors    ShapeError naming the shapes; ArgumentError for a forced kernel that cannot run
/// Order     bit-identical for all kernels and thread counts
template <Format F>
void dequantize(const QuantizedMatrix<F>& q, MatrixView<float> values,
                const Execution& execution = {}, const MemoryTuning& tuning = {}) {
  if (values.rows() != q.rows() || values.cols() != q.cols())
    throw ShapeError("the values of " + to_string(q.codes().shape()) + " codes do not fit " +
                     to_string(values.shape()));
  const kernels::ElementwiseKernel& kernel = kernels::elementwise_kernel(execution.force);
  const bool runs = F::is_integer && values.stride(1) == 1 && q.group_index().empty();
  const auto store = kernels::choose_store(values.size() * Index{sizeof(float)}, tuning);
  kernels::for_each_piece(values.shape(), execution, tuning, [&](Index i, Index begin, Index cols) {
    const Index end = begin + cols;
    if (!runs) {
      for (Index j = begin; j < end; ++j) values(i, j) = q.value(i, j);
      return;
    }
    if constexpr (F::is_integer)
      for (Index j = begin; j < end;) {
        const Index group = j / q.group_length();
        const Index count = std::min(end, (group + 1) * q.group_length()) - j;
        const auto& p = q.parameters()(i, group);
        kernel.decode(reinterpret_cast<const std::uint8_t*>(&q.codes()(i, j)), count,
                      {p.scale, F::zero_point(p), std::is_signed_v<typename F::Code>}, store,
                      &values(i, j));
        j += count;
      }
  });
}

}  // namespace pare
