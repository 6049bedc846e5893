#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "pare/core/finite.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/elementwise.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/quantization/block_parameters.hpp"

/// What quantize, gptq and awq do to the blocks of a row.
namespace pare::detail {

template <Format F>
[[noreturn]] void throw_no_usable() {
  if constexpr (StoresOwnParameters<F>)
    throw NumericError("a block of weights has no parameters that format " + std::string(F::name) +
                       " can store");
  else
    throw NumericError("a block of weights has no usable float32 scale");
}

/// What became of a row.
enum class RowResult : std::uint8_t { done, not_finite, scale_does_not_fit };

/// How rows are quantized: the same for all of a matrix.
struct RowQuantizer {
  const kernels::ElementwiseKernel& kernel;
  const RangeOptions& range;
  kernels::Store store;
  /// Counts blocks whose scale was raised, see ScaleUnderflow; may be null.
  std::atomic<Index>* raised = nullptr;

  /// Parameters of a block without gaps, or none when a weight is not finite.
  template <Format F>
  [[nodiscard]] std::optional<typename F::Parameters> fit(
      const float* block, Index count, ScaleType scale_type,
      const TensorParameters<F>& tensor = {}) const {
    const Range limits = kernel.range(block, count);
    if (!is_finite(limits.lo)) return std::nullopt;
    const bool is_fit_to_limits = range.method == RangeMethod::min_max && !fits_values<F>;
    const auto parameters = is_fit_to_limits
                                ? fit_range<F>(limits, fit_options(range, scale_type), tensor)
                                : block_parameters<F>(block, count, 1, range, scale_type, tensor);
    if constexpr (!StoresOwnParameters<F>)
      if (raised && parameters.scale == smallest_f16_scale &&
          underflows<F>(block, count, scale_type))
        raised->fetch_add(1);
    return parameters;
  }

  /// True when the block's scale is one that ScaleUnderflow is about.
  template <Format F>
  [[nodiscard]] bool underflows(const float* block, Index count, ScaleType scale_type) const {
    FitOptions options = fit_options(range, scale_type);
    options.underflow = ScaleUnderflow::zero;
    return !is_usable_scale(fit_block<F>(block, count, 1, options, {}).scale);
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
  [[nodiscard]] RowResult quantize(const float* row, Index i, QuantizedMatrix<F>& q,
                                   const TensorParameters<F>& tensor = {}) const {
    constexpr Index cached_floats = 4096;
    const Index length = q.group_length();
    const Index stride = std::max<Index>(1, length > 0 ? cached_floats / length : 0);
    const auto count = [&](Index g) { return std::min(length, q.cols() - g * length); };
    for (Index first = 0; first < q.groups(); first += stride) {
      const Index last = std::min(q.groups(), first + stride);
      for (Index g = first; g < last; ++g) {
        const auto parameters = fit<F>(row + g * length, count(g), q.scale_type(), tensor);
        if (!parameters) return RowResult::not_finite;
        if (!is_usable<F>(*parameters)) return RowResult::scale_does_not_fit;
        q.parameters()(i, g) = *parameters;
      }
      encode_groups(row, i, first, last, q);
    }
    return RowResult::done;
  }

  /// Codes of groups [first, last) of row `i`, whose parameters q has.
  template <Format F>
  void encode_groups(const float* row, Index i, Index first, Index last,
                     QuantizedMatrix<F>& q) const {
    const Index length = q.group_length();
    for (Index g = first; g < last; ++g)
      encode<F>(row + g * length, std::min(length, q.cols() - g * length), q.parameters()(i, g),
                &q.codes()(i, g * length));
  }
};

/// What the format finds before its blocks. Means nothing when a weight is not finite.
template <Format F>
[[nodiscard]] TensorParameters<F> tensor_parameters(MatrixView<const float> w,
                                                    const RangeOptions& range, ScaleType scale_type,
                                                    const Execution& execution) {
  if constexpr (HasTensorParameters<F>) {
    Range whole;
    if (!w.empty()) {
      Vector<Range> rows({w.rows()});
      execution.parallel_for(w.rows(),
                             [&](Index i) { rows[i] = range_of(&w(i, 0), w.cols(), w.stride(1)); });
      whole = rows[0];
      for (Index i = 1; i < rows.size(); ++i)
        whole = {std::min(whole.lo, rows[i].lo), std::max(whole.hi, rows[i].hi)};
    }
    return F::fit_tensor(whole, fit_options(range, scale_type));
  } else {
    return {};
  }
}

}  // namespace pare::detail
