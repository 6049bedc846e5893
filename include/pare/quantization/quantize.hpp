#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <type_traits>

#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/elementwise.hpp"
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

/// What became of a row.
enum class RowResult : std::uint8_t { done, not_finite, scale_does_not_fit };

/// How rows are quantized: the same for all of a matrix.
struct RowQuantizer {
  const kernels::ElementwiseKernel& kernel;
  const RangeOptions& range;
  kernels::Store store;

  /// Parameters of a block without gaps, or none when a weight is not finite.
  template <Format F>
  [[nodiscard]] std::optional<typename F::Parameters> fit(const float* block, Index count,
                                                          ScaleType scale_type) const {
    const Range limits = kernel.range(block, count);
    if (!is_finite(limits.lo)) return std::nullopt;
    constexpr bool fits_values = requires(FitOptions options) {
      F::fit_values(block, count, Index{1}, options);
    };
    if (range.method == RangeMethod::min_max && !fits_values)
      return F::fit(limits, {scale_type, range.denominator, range.extend_to_zero});
    return block_parameters<F>(block, count, 1, range, scale_type);
  }

  template <Format F>
  void encode(const float* block, Index count, const typename F::Parameters& p,
              typename F::Code* codes) const {
    if constexpr (F::is_integer) {
      constexpr int lo = -F::code_offset, hi = code_count<F>() - 1 - F::code_offset;
      kernel.encode(block, count, {p.scale, F::zero_point(p), lo, hi}, store,
                    reinterpret_cast<std::uint8_t*>(codes));
    } else {
      for (Index k = 0; k < count; ++k) codes[k] = F::encode(block[k], p);
    }
  }

  template <Format F>
  void decode(const typename F::Code* codes, Index count, const typename F::Parameters& p,
              float* values) const {
    if constexpr (F::is_integer) {
      kernel.decode(reinterpret_cast<const std::uint8_t*>(codes), count,
                    {p.scale, F::zero_point(p), std::is_signed_v<typename F::Code>}, store, values);
    } else {
      for (Index k = 0; k < count; ++k) values[k] = F::decode(codes[k], p);
    }
  }

  /// Row `i` of q from its weights without gaps. Several groups are fitted before they are
  /// encoded, as many as a first-level cache holds: apart, they overlap in the pipeline.
  template <Format F>
  [[nodiscard]] RowResult quantize(const float* row, Index i, QuantizedMatrix<F>& q) const {
    constexpr Index cached_floats = 4096;
    const Index length = q.group_length();
    const Index stride = std::max<Index>(1, length > 0 ? cached_floats / length : 0);
    const auto count = [&](Index g) { return std::min(length, q.cols() - g * length); };
    for (Index first = 0; first < q.groups(); first += stride) {
      const Index last = std::min(q.groups(), first + stride);
      for (Index g = first; g < last; ++g) {
        const auto parameters = fit<F>(row + g * length, count(g), q.scale_type());
        if (!parameters) return RowResult::not_finite;
        if (!is_usable_scale(parameters->scale)) return RowResult::scale_does_not_fit;
        q.parameters()(i, g) = *parameters;
      }
      for (Index g = first; g < last; ++g)
        encode<F>(row + g * length, count(g), q.parameters()(i, g), &q.codes()(i, g * length));
    }
    return RowResult::done;
  }
};

/// Quantizes with q's shape, groups and scale type; returns false when a scale does not fit.
template <Format F>
[[nodiscard]] bool quantize_rows(MatrixView<const float> w, const RangeOptions& range,
                                 const Execution& execution, const MemoryTuning& tuning,
                                 QuantizedMatrix<F>& q) {
  const RowQuantizer quantizer{kernels::elementwise_kernel(execution.force), range,
                               kernels::choose_store(w.size(), tuning)};
  std::atomic<bool> finite = true, fits = true;
  // Whole rows: a block is read twice, and should be in a cache the second time.
  const Index height =
      std::max<Index>(1, tuning.piece_bytes / Index{sizeof(float)} / std::max<Index>(1, w.cols()));
  execution.parallel_for(ceil_div(w.rows(), height), [&](Index piece) {
    const Index end = std::min(w.rows(), (piece + 1) * height);
    for (Index i = piece * height; i < end; ++i) {
      Vector<float> copied;
      if (w.stride(1) != 1) copied = Vector<float>(w.row(i));
      const float* row = w.stride(1) == 1 ? w.data() + i * w.stride(0) : copied.data();
      const RowResult result = quantizer.quantize(row, i, q);
      if (result == RowResult::not_finite) finite.store(false);
      if (result == RowResult::scale_does_not_fit) fits.store(false);
    }
    kernels::finish_streaming();
  });
  if (!finite) require_finite(w, "weight");
  return fits;
}

}  // namespace detail

/// Rounds every weight to the nearest code of its block.
///
/// Shapes    w (rows, cols), any strides; q is overwritten, in the memory that it has when it held
///           the same shape, groups and scale type before
/// Errors    NumericError naming the element when a weight is not finite; ArgumentError for a
///           group size of 0, below -1 or larger than the row, and for range options out of range.
///           q is unspecified then.
/// Edge      when a scale over- or underflows its storage type the matrix keeps all scales in
///           F32: the result's scale_type() then differs from the one asked for
/// Order     bit-identical for all kernels and thread counts
template <Format F>
void quantize(MatrixView<const float> w, const QuantizeOptions& options, const Execution& execution,
              QuantizedMatrix<F>& q, const MemoryTuning& tuning = {}) {
  detail::require_valid(options.range);
  const ScaleType wanted = options.scale_type.value_or(default_scale_type<F>(options.group_size));
  with_standard_floats(execution, [&](const Execution& standard) {
    for (const ScaleType type : {wanted, ScaleType::f32}) {
      const bool same_layout = q.codes().shape() == w.shape() && q.scale_type() == type &&
                               q.group_size() == options.group_size && q.group_index().empty();
      if (!same_layout) q = QuantizedMatrix<F>(w.rows(), w.cols(), options.group_size, type);
      if (detail::quantize_rows(w, options.range, standard, tuning, q)) return;
    }
    throw NumericError("a block of weights has no usable float32 scale");
  });
}

/// The same in new memory.
template <Format F>
[[nodiscard]] QuantizedMatrix<F> quantize(MatrixView<const float> w,
                                          const QuantizeOptions& options = {},
                                          const Execution& execution = {}) {
  QuantizedMatrix<F> q;
  quantize<F>(w, options, execution, q);
  return q;
}

}  // namespace pare
