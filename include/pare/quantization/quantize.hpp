#pragma once

#include <algorithm>
#include <atomic>
#include <optional>

#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/elementwise.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/quantization/block_parameters.hpp"
#include "pare/quantization/row_quantizer.hpp"
#include "pare/quantization/shared_blocks.hpp"

namespace pare {

/// What happened on the way.
struct QuantizeReport {
  bool scales_widened = false;  ///< a scale did not fit its type: all are kept in F32
  Index scales_raised = 0;      ///< scales that ScaleUnderflow::smallest kept from being 0
};

struct QuantizeOptions {
  /// Columns that share parameters; -1 is the whole row.
  Index group_size = -1;
  /// Blocks that are more than a part of a row; instead of a group size.
  std::optional<BlockShape> blocks{};
  /// Unset: default_scale_type.
  std::optional<ScaleType> scale_type{};
  RangeOptions range{};
  QuantizeReport* report = nullptr;
};

namespace detail {

/// Quantizes with q's shape, groups and scale type; returns false when a scale does not fit.
/// `raised` counts scales, see RowQuantizer.
template <Format F>
[[nodiscard]] bool quantize_blocks(MatrixView<const float> w, const RangeOptions& range,
                                   const Execution& execution, const MemoryTuning& tuning,
                                   QuantizedMatrix<F>& q, std::atomic<Index>* raised) {
  const RowQuantizer quantizer{kernels::elementwise_kernel(execution.force), range,
                               kernels::choose_store(w.size(), tuning), raised};
  const auto tensor = tensor_parameters<F>(w, range, q.scale_type(), execution);
  const bool in_row = q.blocks().is_in_row();
  if (!in_row) {
    const RowResult result = fit_blocks(w, quantizer, tensor, execution, q);
    if (result == RowResult::not_finite) require_finite(w, "weight");
    if (result != RowResult::done) return false;
  }
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
      if (!in_row) {
        quantizer.encode_groups(row, i, 0, q.groups(), q);
        continue;
      }
      const RowResult result = quantizer.quantize(row, i, q, tensor);
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
///           group size of 0, below -1 or larger than the row, for blocks larger than w or with a
///           group size beside them, and for range options out of range. q is unspecified then.
/// Edge      when a scale over- or underflows its storage type the matrix keeps all scales in
///           F32: the result's scale_type() then differs from the one asked for
/// Order     bit-identical for all kernels and thread counts
template <Format F>
void quantize(MatrixView<const float> w, const QuantizeOptions& options, const Execution& execution,
              QuantizedMatrix<F>& q, const MemoryTuning& tuning = {}) {
  detail::require_valid(options.range);
  const BlockShape blocks = detail::block_shape(options.group_size, options.blocks);
  const ScaleType wanted = options.scale_type.value_or(default_scale_type<F>(blocks.cols));
  with_standard_floats(execution, [&](const Execution& standard) {
    for (const ScaleType type : {wanted, ScaleType::f32}) {
      const bool same_layout = q.codes().shape() == w.shape() && q.scale_type() == type &&
                               q.blocks() == blocks && q.group_index().empty();
      if (!same_layout) q = QuantizedMatrix<F>(w.rows(), w.cols(), blocks, type);
      std::atomic<Index> raised = 0;
      if (!detail::quantize_blocks(w, options.range, standard, tuning, q,
                                   options.report ? &raised : nullptr))
        continue;
      if (options.report) *options.report = {type != wanted, raised};
      return;
    }
    detail::throw_no_usable<F>();
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
