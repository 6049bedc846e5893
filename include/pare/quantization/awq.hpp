#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/lanes.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/quantization/quantize.hpp"

namespace pare {

struct AwqOptions {
  /// Columns that share parameters; -1 is the whole row.
  Index group_size = 128;
  /// How the trial scales are rounded; float32 as in the authors' search.
  ScaleType scale_type = ScaleType::f32;
  SymmetricDenominator denominator = SymmetricDenominator::automatic;
  /// See FitOptions::underflow.
  ScaleUnderflow underflow = ScaleUnderflow::zero;
  /// Ratios tried by awq_scales: i / ratios for i in [0, ratios).
  int ratios = 20;
  /// Clip maxima tried by awq_clip: absmax * (1 - i / clip_grid) for i in [0, clip_steps).
  int clip_grid = 20;
  int clip_steps = 10;
  /// Tokens that awq_clip samples: every (tokens / clip_tokens)-th.
  Index clip_tokens = 512;
};

struct AwqScales {
  Vector<float> scales{};  ///< (in_features)
  float ratio = 0.0f;
  double loss = 0.0;
  std::vector<double> grid_losses{};  ///< one per ratio tried
};

namespace detail {

/// AWQ's quantizer: the range is not extended to zero.
[[nodiscard]] inline RangeOptions awq_range(const AwqOptions& options) noexcept {
  return {
      .denominator = options.denominator, .extend_to_zero = false, .underflow = options.underflow};
}

/// s = t / sqrt(max(t) min(t)), t = max(a^ratio, 1e-4); 1 where that is not a usable scale.
[[nodiscard]] inline Vector<float> awq_candidate(VectorView<const float> mean_abs, float ratio) {
  Vector<float> scales({mean_abs.size()});
  float largest = 0.0f, smallest = std::numeric_limits<float>::max();
  for (Index c = 0; c < mean_abs.size(); ++c) {
    scales[c] = std::max(std::pow(mean_abs[c], ratio), 1e-4f);
    largest = std::max(largest, scales[c]);
    smallest = std::min(smallest, scales[c]);
  }
  const float norm = std::sqrt(largest * smallest);
  for (Index c = 0; c < scales.size(); ++c) {
    scales[c] /= norm;
    if (!(scales[c] > 0.0f) || !is_finite(scales[c])) scales[c] = 1.0f;
  }
  return scales;
}

/// trial = Q(W diag(s)) diag(s)^-1 row by row, which stays in a cache, with the layout of `q`;
/// returns false when a scale does not fit its type.
template <Format F>
[[nodiscard]] bool awq_trial_rows(MatrixView<const float> w, const float* scales,
                                  const AwqOptions& options, const Execution& execution,
                                  QuantizedMatrix<F>& q, MatrixView<float> trial) {
  const RangeOptions range = awq_range(options);
  const RowQuantizer quantizer{kernels::elementwise_kernel(execution.force), range,
                               kernels::Store::cached};
  const Index cols = w.cols(), length = q.group_length();
  const auto scale_row = [&](Index i) {
    copy(w.row(i), trial.row(i));
    transform(&trial(i, 0), scales, cols, &trial(i, 0), [](float v, float s) { return v * s; });
  };
  if constexpr (HasTensorParameters<F>) execution.parallel_for(w.rows(), scale_row);
  const auto tensor = tensor_parameters<F>(trial, range, q.scale_type(), execution);
  std::atomic<bool> finite = true, fits = true;
  execution.parallel_for(w.rows(), [&](Index i) {
    float* const row = &trial(i, 0);
    scale_row(i);
    const RowResult result = quantizer.quantize(row, i, q, tensor);
    if (result == RowResult::not_finite) finite.store(false);
    if (result == RowResult::scale_does_not_fit) fits.store(false);
    if (result != RowResult::done) return;
    for (Index g = 0; g < q.groups(); ++g) {
      const Index begin = g * length;
      quantizer.decode<F>(&q.codes()(i, begin), std::min(length, cols - begin),
                          q.parameters()(i, g), row + begin);
    }
    transform(row, scales, cols, row, [](float v, float s) { return v / s; });
  });
  if (!finite) require_finite(trial, "scaled weight");
  return fits;
}

/// The same with float32 scales where others do not fit; `q` keeps its memory between trials.
template <Format F>
void awq_trial(MatrixView<const float> w, VectorView<const float> scales, const AwqOptions& options,
               const Execution& execution, QuantizedMatrix<F>& q, Matrix<float>& trial) {
  if (w.empty()) return;
  for (const ScaleType type : {options.scale_type, ScaleType::f32}) {
    if (q.codes().shape() != w.shape() || q.scale_type() != type)
      q = QuantizedMatrix<F>(w.rows(), w.cols(), options.group_size, type);
    if (awq_trial_rows(w, scales.data(), options, execution, q, trial.view())) return;
  }
  throw NumericError("a block of scaled weights has no usable float32 scale");
}

}  // namespace detail

/// What a weight becomes whose input is divided by `scales` and which is then quantized, seen from
/// the input as it was: Q(W diag(s)) diag(s)^-1.
///
/// Shapes    w (any rows, in_features); scales (in_features)
/// Errors    ShapeError; NumericError for products that are not finite, or without a usable scale
template <Format F>
[[nodiscard]] Matrix<float> awq_trial(MatrixView<const float> w, VectorView<const float> scales,
                                      const AwqOptions& options = {},
                                      const Execution& execution = {}) {
  if (w.cols() != scales.size())
    throw ShapeError("a layer of shape " + to_string(w.shape()) + " reads " +
                     std::to_string(scales.size()) + " channels");
  QuantizedMatrix<F> quantized;
  Matrix<float> trial(w.shape());
  detail::awq_trial<F>(w, scales, options, execution, quantized, trial);
  return trial;
}

/// Finds the channel scales that protect the weights of salient activations.
///
///     s = t / sqrt(max(t) min(t)),  t_c = max(a_c^r, 1e-4),  r in {0, 0.05, ..., 0.95}
///
/// For every ratio r `loss(const Vector<float>& s)` returns the mean squared difference that the
/// quantization of all weights scaled by s makes to the output of the module the caller inspects
/// (attention, MLP): for layers that are not in memory together (`awq_trial`). The smallest loss
/// wins, the first of equal ones. Apply the scales with the fold functions.
///
/// Shapes    mean_abs_input a (in_features), the mean over tokens of |x_c|
/// Errors    ArgumentError for options out of range; NumericError for a mean that is negative or
///           not finite, and when no loss is finite
/// Accuracy  float32 with true division, as the authors' code
/// Source    Lin et al., "AWQ", 2024, Eq. 4 and 5; the grid of the authors' code
template <class Loss>
[[nodiscard]] AwqScales awq_search(VectorView<const float> mean_abs_input, Loss&& loss,
                                   const AwqOptions& options = {}) {
  if (options.ratios < 1)
    throw ArgumentError("the number of ratios is " + std::to_string(options.ratios));
  for (Index c = 0; c < mean_abs_input.size(); ++c)
    if (!(mean_abs_input[c] >= 0.0f) || !is_finite(mean_abs_input[c]))
      throw NumericError("the mean activation of channel " + std::to_string(c) + " is " +
                         std::to_string(mean_abs_input[c]));

  AwqScales best{.loss = std::numeric_limits<double>::infinity()};
  for (int i = 0; i < options.ratios; ++i) {
    const float ratio = static_cast<float>(i) / static_cast<float>(options.ratios);
    Vector<float> scales = detail::awq_candidate(mean_abs_input, ratio);
    const double trial_loss = static_cast<double>(loss(std::as_const(scales)));
    best.grid_losses.push_back(trial_loss);
    if (trial_loss < best.loss) {
      best.scales = std::move(scales);
      best.ratio = ratio;
      best.loss = trial_loss;
    }
  }
  if (!is_finite(best.loss)) throw NumericError("no ratio of the AWQ grid has a finite loss");
  return best;
}

/// The same for weights that share an input and lie in memory: they become the trials of
/// `awq_trial`, and `loss(std::span<const Matrix<float>>)` is given them in order.
///
/// Shapes    sharing: matrices (any rows, in_features)
/// Errors    ShapeError; ArgumentError for no layers; as awq_search and awq_trial
template <Format F, class Loss>
[[nodiscard]] AwqScales awq_scales(std::span<const MatrixView<const float>> sharing,
                                   VectorView<const float> mean_abs_input, Loss&& loss,
                                   const AwqOptions& options = {},
                                   const Execution& execution = {}) {
  if (sharing.empty()) throw ArgumentError("awq_scales needs at least one layer");
  for (const MatrixView<const float>& w : sharing)
    if (w.cols() != mean_abs_input.size())
      throw ShapeError("a layer of shape " + to_string(w.shape()) + " shares an input of " +
                       std::to_string(mean_abs_input.size()) + " channels");
  std::vector<QuantizedMatrix<F>> quantized(sharing.size());
  std::vector<Matrix<float>> trials;
  for (const MatrixView<const float>& w : sharing) trials.emplace_back(w.shape());
  const auto trial_loss = [&](const Vector<float>& scales) {
    for (std::size_t k = 0; k < sharing.size(); ++k)
      detail::awq_trial<F>(sharing[k], scales, options, execution, quantized[k], trials[k]);
    return loss(std::span<const Matrix<float>>(trials));
  };
  return awq_search(mean_abs_input, trial_loss, options);
}

}  // namespace pare
