#pragma once

#include <atomic>
#include <optional>

#include "pare/core/finite.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/quantization/block_parameters.hpp"

namespace pare {

struct QuantizeOptions {
  /// Columns that share parameters; -1 is the whole row.
  Index group_size = -1;
  /// Unset: default_scale_type.
  std::optional<ScaleType> scale_type{};
  RangeOptions range{};
};

namespace detail {

/// Codes of row `i`; returns false when a scale does not fit the matrix's storage type.
template <Format F>
bool quantize_row(MatrixView<const float> w, Index i, const RangeOptions& range,
                  QuantizedMatrix<F>& q) {
  const Index stride = w.stride(1), length = q.group_length();
  for (Index g = 0; g < q.groups(); ++g) {
    const Index begin = g * length, count = std::min(length, q.cols() - begin);
    const float* block = &w(i, begin);
    const auto parameters = block_parameters<F>(block, count, stride, range, q.scale_type());
    if (!is_usable_scale(parameters.scale)) return false;
    q.parameters()(i, g) = parameters;
    typename F::Code* codes = &q.codes()(i, begin);
    for (Index k = 0; k < count; ++k) codes[k] = F::encode(block[k * stride], parameters);
  }
  return true;
}

}  // namespace detail

/// Rounds every weight to the nearest code of its block.
///
/// Shapes    w (rows, cols), any strides
/// Errors    NumericError naming the element when a weight is not finite; ArgumentError for a
///           group size of 0, below -1 or larger than the row, and for range options out of range
/// Edge      when a scale over- or underflows its storage type the matrix keeps all scales in
///           F32: the result's scale_type() then differs from the one asked for
/// Order     independent of the number of threads
template <Format F>
[[nodiscard]] QuantizedMatrix<F> quantize(MatrixView<const float> w,
                                          const QuantizeOptions& options = {},
                                          const Execution& execution = {}) {
  detail::require_valid(options.range);
  require_finite(w, "weight");
  const ScaleType wanted = options.scale_type.value_or(default_scale_type<F>(options.group_size));
  for (const ScaleType type : {wanted, ScaleType::f32}) {
    QuantizedMatrix<F> q(w.rows(), w.cols(), options.group_size, type);
    std::atomic<bool> fits = true;
    execution.parallel_for(w.rows(), [&](Index i) {
      if (!detail::quantize_row(w, i, options.range, q)) fits.store(false);
    });
    if (fits) return q;
  }
  throw NumericError("a block of weights has no usable float32 scale");
}

}  // namespace pare
