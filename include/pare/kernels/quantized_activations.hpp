#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/scale.hpp"
#include "pare/kernels/dispatch/quantize_activations.hpp"
#include "pare/kernels/execution.hpp"

namespace pare {

namespace detail {

template <class Codes, class Scales, class Sums>
struct ActivationsOf {
  Codes codes;    ///< (tokens, in_features)
  Scales scales;  ///< (tokens, groups)
  std::int32_t zero_point = 0;
  Index group_size = -1;  ///< columns that share a scale; -1 is the whole row, one group
  Sums sums;              ///< (tokens, groups): the sum of each group's codes

  [[nodiscard]] Index tokens() const noexcept { return codes.rows(); }
  [[nodiscard]] Index cols() const noexcept { return codes.cols(); }
  [[nodiscard]] Index groups() const noexcept { return scales.cols(); }
  /// Columns in a full group: cols() when group_size is -1.
  [[nodiscard]] Index group_length() const noexcept {
    return group_size == -1 ? cols() : group_size;
  }
  [[nodiscard]] Index group_of(Index column) const noexcept {
    return group_size == -1 ? 0 : column / group_size;
  }
  [[nodiscard]] float scale(Index token, Index group = 0) const noexcept {
    return scales(token, group);
  }
};

}  // namespace detail

/// Activations as int8 codes.
///
///     x(token, column) = scale(token, group of column) * (codes(token, column) - zero_point)
struct QuantizedActivations
    : detail::ActivationsOf<Matrix<std::int8_t>, Matrix<float>, Matrix<std::int32_t>> {};

/// The same in memory of somebody else.
struct QuantizedActivationsView
    : detail::ActivationsOf<MatrixView<const std::int8_t>, MatrixView<const float>,
                            MatrixView<const std::int32_t>> {
  QuantizedActivationsView(MatrixView<const std::int8_t> codes_, MatrixView<const float> scales_,
                           MatrixView<const std::int32_t> sums_, std::int32_t zero_point_,
                           Index group_size_)
      : ActivationsOf{codes_, scales_, zero_point_, group_size_, sums_} {}
  QuantizedActivationsView(const QuantizedActivations& q)
      : QuantizedActivationsView(q.codes, q.scales, q.sums, q.zero_point, q.group_size) {}
};

/// Calibrated parameters of all tokens. Without a scale each group of each token gets its own.
struct ActivationOptions {
  std::optional<float> scale{};
  /// In [-128, 127]; needs a scale.
  std::int32_t zero_point = 0;
  /// Neighbouring columns that share a scale; -1 is the whole row. Not with a given scale.
  Index group_size = -1;

  friend bool operator==(const ActivationOptions&, const ActivationOptions&) = default;
};

namespace kernels {

/// Groups of a row of `cols` columns. Throws ArgumentError for options out of range.
[[nodiscard]] inline Index activation_groups(const ActivationOptions& options, Index cols) {
  if (options.scale && !is_usable_scale(*options.scale))
    throw ArgumentError("activation scale " + std::to_string(*options.scale) +
                        " is not a positive number");
  if (options.zero_point < -128 || options.zero_point > 127)
    throw ArgumentError("activation zero point " + std::to_string(options.zero_point) +
                        " is outside [-128, 127]");
  if (options.zero_point != 0 && !options.scale)
    throw ArgumentError("an activation zero point needs a scale");
  if (options.group_size == -1) return 1;
  if (options.scale) throw ArgumentError("a given activation scale has no groups");
  if (options.group_size < 1)
    throw ArgumentError("activation group size " + std::to_string(options.group_size) +
                        " is neither -1 (whole row) nor positive");
  return std::max<Index>(1, ceil_div(cols, options.group_size));
}

/// Where the quantized form of one token goes.
struct QuantizedRow {
  std::int8_t* codes;  ///< (cols)
  float* scales;       ///< (groups)
  std::int32_t* sums;  ///< (groups)
};

/// One token of quantize_activations: x (cols) without gaps, valid options. Returns false, with
/// nothing useful in `out`, when an element is not finite. x stays in cache between the passes;
/// a pass over all groups at a time lets the groups overlap in the pipeline.
[[nodiscard]] inline bool quantize_row(const ActivationKernel& kernel, const float* x, Index cols,
                                       const ActivationOptions& options,
                                       const QuantizedRow& out) noexcept {
  const Index length = options.group_size == -1 ? cols : std::min(options.group_size, cols);
  const Index groups = length == 0 ? 1 : ceil_div(cols, length);
  const auto count = [&](Index group) { return std::min(length, cols - group * length); };
  for (Index g = 0; g < groups; ++g) out.scales[g] = kernel.absmax(x + g * length, count(g));
  if (!all_finite(out.scales, groups)) return false;

  const std::int32_t lowest = options.zero_point == 0 ? -127 : -128;
  for (Index g = 0; g < groups; ++g) {
    const float scale = options.scale.value_or(fit_scale(out.scales[g], 127.0f, ScaleType::f32));
    const ActivationParameters parameters{scale, options.zero_point, lowest, !options.scale};
    kernel.quantize(x + g * length, count(g), parameters, out.codes + g * length);
    out.scales[g] = scale;
  }
  for (Index g = 0; g < groups; ++g) out.sums[g] = kernel.sum(out.codes + g * length, count(g));
  return true;
}

/// All tokens of quantize_activations; `out` is where the first goes. Few are one iteration: they
/// are quantized sooner than other threads begin.
inline void quantize_rows(const ActivationKernel& kernel, MatrixView<const float> x,
                          const ActivationOptions& options, const Execution& execution,
                          const QuantizedRow& out, Index groups) {
  const Index rows = std::max<Index>(1, parallel_grain / 16 / std::max<Index>(1, x.cols()));
  execution.parallel_for(ceil_div(x.rows(), rows), [&](Index block) {
    Vector<float> copied;
    for (Index token = block * rows; token < std::min(x.rows(), (block + 1) * rows); ++token) {
      const float* row = x.data() + token * x.stride(0);
      if (x.stride(1) != 1) {
        copied = Vector<float>(x.row(token));
        row = copied.data();
      }
      if (!quantize_row(kernel, row, x.cols(), options,
                        {out.codes + token * x.cols(), out.scales + token * groups,
                         out.sums + token * groups}))
        require_finite(x, "activation");
    }
  });
}

}  // namespace kernels

namespace detail {

/// Gives `tensor` a shape; keeps its memory when it has that shape already.
template <class T>
void reshape_for_overwrite(Matrix<T>& tensor, Shape<2> shape) {
  if (tensor.shape() != shape) tensor = Matrix<T>(shape);
}

}  // namespace detail

/// Quantizes activations to 8 bits, each token or group by itself or with given parameters.
///
///     code = clip(round_half_even(x / scale) + zero_point, lo, hi)
///
/// Shapes    x (tokens, in_features), any strides; out is overwritten, and allocates nothing when
///           it held as many tokens, columns and groups before
/// Values    dynamic: scale = absmax / 127 of the group, zero_point 0, codes in [-127, 127];
///           static: codes in [-127, 127] without, [-128, 127] with a zero point
/// Errors    NumericError naming the element that is not finite; ArgumentError for a scale that is
///           not a positive number, a zero point outside int8 or without a scale, a group size of 0
///           or below -1, or one with a scale. out is unspecified then.
/// Edge      a group of zeros gets scale 1; a group size beyond the row is the whole row
/// Order     bit-identical for all kernels and thread counts
inline void quantize_activations(MatrixView<const float> x, const ActivationOptions& options,
                                 const Execution& execution, QuantizedActivations& out) {
  const Index groups = kernels::activation_groups(options, x.cols());
  detail::reshape_for_overwrite(out.codes, x.shape());
  detail::reshape_for_overwrite(out.scales, {x.rows(), groups});
  detail::reshape_for_overwrite(out.sums, {x.rows(), groups});
  out.zero_point = options.zero_point;
  out.group_size = options.group_size;
  kernels::quantize_rows(kernels::activation_kernel(execution.force), x, options, execution,
                         {out.codes.data(), out.scales.data(), out.sums.data()}, groups);
}

/// The same in new memory.
[[nodiscard]] inline QuantizedActivations quantize_activations(
    MatrixView<const float> x, const ActivationOptions& options = {},
    const Execution& execution = {}) {
  QuantizedActivations q;
  quantize_activations(x, options, execution, q);
  return q;
}

/// The values that the codes stand for, (tokens, in_features).
[[nodiscard]] inline Matrix<float> dequantize(const QuantizedActivationsView& q) {
  Matrix<float> values({q.tokens(), q.cols()});
  for (Index t = 0; t < q.tokens(); ++t)
    for (Index j = 0; j < q.cols(); ++j)
      values(t, j) = q.scale(t, q.group_of(j)) * static_cast<float>(q.codes(t, j) - q.zero_point);
  return values;
}

}  // namespace pare
