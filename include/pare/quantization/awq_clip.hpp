#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/lanes.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/kernels/gram.hpp"
#include "pare/quantization/awq.hpp"
#include "pare/quantization/quantize.hpp"

namespace pare {

namespace detail {

/// Rows searched together: candidates of all of them form one product with the activations, so
/// that packing these is paid once; 32 rows x 10 candidates x 512 tokens stay within 660 KB.
inline constexpr Index awq_clip_rows = 32;

[[nodiscard]] inline float awq_clip_maximum(float absmax, int step, int grid) noexcept {
  return absmax * static_cast<float>(1.0 - static_cast<double>(step) / grid);
}

/// What clipping a group to +-maximum and quantizing it changes: difference = Q(clip(w)) - w.
/// `clipped` and `codes` are scratch. Returns false when the clipped group has no usable scale.
template <Format F>
bool awq_clip_difference(const RowQuantizer& quantizer, const float* group, Index count,
                         float maximum, ScaleType scale_type, const TensorParameters<F>& tensor,
                         float* clipped, typename F::Code* codes, float* difference) {
  transform(group, group, count, clipped,
            [maximum](float v, float) { return std::min(std::max(v, -maximum), maximum); });
  const auto parameters = quantizer.fit<F>(clipped, count, scale_type, tensor);
  if (!parameters || !is_usable<F>(*parameters)) return false;
  quantizer.encode<F>(clipped, count, *parameters, codes);
  quantizer.decode<F>(codes, count, *parameters, difference);
  transform(difference, group, count, difference, [](float q, float v) { return q - v; });
  return true;
}

/// What turns differences d of a group's weights into squared errors of its outputs: |X d|^2, or
/// dᵀ (Xᵀ X) d where that is less work.
class AwqClipError {
 public:
  /// x (tokens, columns of the group), which must stay.
  AwqClipError(MatrixView<const float> x, KernelName force) : x_(x) {
    const Index count = x.cols();
    if (count >= x.rows()) return;
    Matrix<double> sums({count, count});
    gram(x, sums, {.force = force});
    gram_ = Matrix<float>(sums.view());
  }

  /// Products of this with differences (candidates, columns) are what `of` wants.
  [[nodiscard]] MatrixView<const float> factor() const {
    return gram_.empty() ? x_.transposed() : gram_.view();
  }

  [[nodiscard]] double of(VectorView<const float> difference,
                          VectorView<const float> product) const noexcept {
    const VectorView<const float> other = gram_.empty() ? product : difference;
    return dot(other.data(), product.data(), product.size());
  }

 private:
  MatrixView<const float> x_;
  Matrix<float> gram_;
};

/// Best maxima of one group of columns for the rows of `w`.
template <Format F>
void awq_clip_group(MatrixView<const float> w, const AwqClipError& error, const AwqOptions& options,
                    const TensorParameters<F>& tensor, VectorView<float> maxima,
                    const Execution& execution) {
  const Index steps = options.clip_steps, count = w.cols();
  Matrix<float> differences({w.rows() * steps, count});
  Vector<float> absmax({w.rows()}), clipped({count});
  Vector<typename F::Code> codes({count});
  const RangeOptions range = awq_range(options);
  const RowQuantizer quantizer{kernels::elementwise_kernel(execution.force), range,
                               kernels::Store::cached};
  std::vector<char> usable(static_cast<std::size_t>(w.rows() * steps));
  for (Index i = 0; i < w.rows(); ++i) {
    const Vector<float> group(w.row(i));
    absmax[i] = range_of(group.data(), count).absmax();
    for (Index step = 0; step < steps; ++step)
      usable[static_cast<std::size_t>(i * steps + step)] = awq_clip_difference<F>(
          quantizer, group.data(), count,
          awq_clip_maximum(absmax[i], static_cast<int>(step), options.clip_grid),
          options.scale_type, tensor, clipped.data(), codes.data(),
          &differences(i * steps + step, 0));
  }
  Matrix<float> products({differences.rows(), error.factor().cols()});
  gemm(1.0f, differences, error.factor(), products, execution);
  for (Index i = 0; i < w.rows(); ++i) {
    double best = std::numeric_limits<double>::infinity();
    maxima[i] = absmax[i];
    for (Index step = 0; step < steps; ++step) {
      const Index candidate = i * steps + step;
      if (!usable[static_cast<std::size_t>(candidate)]) continue;
      const double found = error.of(differences.row(candidate), products.row(candidate));
      if (found < best) {
        best = found;
        maxima[i] = awq_clip_maximum(absmax[i], static_cast<int>(step), options.clip_grid);
      }
    }
  }
}

}  // namespace detail

/// Finds per group the magnitude to clip weights to before they are quantized.
///
///     T = argmin mean over tokens of (x_g . Q(clip(w_g, -T, T)) - x_g . w_g)^2
///     over T = absmax(w_g) (1 - i / 20), i in [0, 10)
///
/// Run it on the scaled weight with the inputs divided by the scales, then apply_clip, then
/// quantize with the range not extended to zero. The authors clip every layer but the query and
/// key projections.
///
/// Shapes    w (rows, in_features); x (tokens, in_features); result (rows, groups)
/// Errors    ShapeError; ArgumentError for no tokens or options out of range; NumericError for
///           values that are not finite
/// Edge      of equal errors the larger T wins; from 2 clip_tokens tokens on, every
///           (tokens / clip_tokens)-th is used
///           parameters of the whole tensor, where a format has them, are those of w unclipped
/// Accuracy  codes and products in float32, squares summed in float64
/// Cost      per weight and candidate min(tokens, columns of a group) multiply-adds; with groups
///           of fewer columns than tokens errors come from the Gram matrices of the inputs
/// Order     independent of the number of threads
/// Source    Lin et al., "AWQ", 2024, the clip search of the authors' code
template <Format F>
[[nodiscard]] Matrix<float> awq_clip(MatrixView<const float> w, MatrixView<const float> x,
                                     const AwqOptions& options = {},
                                     const Execution& execution = {}) {
  if (x.cols() != w.cols())
    throw ShapeError("activations of shape " + to_string(x.shape()) +
                     " do not fit the weight of shape " + to_string(w.shape()));
  if (x.rows() < 1) throw ArgumentError("the clip search needs at least one token");
  if (options.clip_tokens < 1 || options.clip_steps < 1 || options.clip_grid < options.clip_steps)
    throw ArgumentError(
        "the clip search needs at least one token and one step, and no more steps "
        "than its grid has");
  require_finite(w, "weight");
  require_finite(x, "activation");

  const Index every = std::max<Index>(1, x.rows() / options.clip_tokens);
  const MatrixView<const float> sample(x.data(), {ceil_div(x.rows(), every), x.cols()},
                                       {every * x.stride(0), x.stride(1)});
  const Index groups = QuantizedMatrix<F>::group_count(w.cols(), options.group_size);
  const Index length = options.group_size == -1 ? w.cols() : options.group_size;
  const auto tensor =
      detail::tensor_parameters<F>(w, detail::awq_range(options), options.scale_type, execution);
  Matrix<float> maxima({w.rows(), groups});
  std::vector<std::optional<detail::AwqClipError>> errors(static_cast<std::size_t>(groups));
  execution.parallel_for(groups, [&](Index g) {
    const Index column = g * length, count = std::min(length, w.cols() - column);
    errors[static_cast<std::size_t>(g)].emplace(sample.slice(1, column, count), execution.force);
  });
  execution.parallel_for(ceil_div(w.rows(), detail::awq_clip_rows), [&](Index tile) {
    const Index row = tile * detail::awq_clip_rows;
    const Index rows = std::min(detail::awq_clip_rows, w.rows() - row);
    for (Index g = 0; g < groups; ++g) {
      const Index column = g * length, count = std::min(length, w.cols() - column);
      detail::awq_clip_group<F>(w.slice(0, row, rows).slice(1, column, count),
                                *errors[static_cast<std::size_t>(g)], options, tensor,
                                maxima.view().slice(0, row, rows).select(1, g),
                                {.force = execution.force});
    }
  });
  return maxima;
}

/// Clips the weights of every group to +-maxima in place.
///
/// Shapes    w (rows, cols); maxima (rows, groups)
/// Errors    ShapeError; ArgumentError for a group size of 0 or below -1 and a maximum that is
///           negative or NaN
inline void apply_clip(MatrixView<float> w, MatrixView<const float> maxima, Index group_size) {
  if (group_size == 0 || group_size < -1)
    throw ArgumentError("group size " + std::to_string(group_size) +
                        " is neither -1 (whole row) nor positive");
  const Index length = group_size == -1 ? std::max<Index>(w.cols(), 1) : group_size;
  if (const Shape<2> expected{w.rows(), ceil_div(w.cols(), length)}; maxima.shape() != expected)
    throw ShapeError("clip maxima of shape " + to_string(maxima.shape()) + " instead of " +
                     to_string(expected));
  for (Index i = 0; i < maxima.rows(); ++i)
    for (Index g = 0; g < maxima.cols(); ++g)
      if (!(maxima(i, g) >= 0.0f))
        throw ArgumentError("the clip maximum of row " + std::to_string(i) + ", group " +
                            std::to_string(g) + " is " + std::to_string(maxima(i, g)));
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) {
      const float maximum = maxima(i, j / length);
      w(i, j) = std::clamp(w(i, j), -maximum, maximum);
    }
}

}  // namespace pare
