#pragma once

#include <cmath>

#include "training/operations/image.hpp"
#include "training/operations/product.hpp"

namespace training {

/// PyTorch's BatchNorm1d and BatchNorm2d:
///
///     y = (x - m) r w + b,   r = 1 / sqrt(v + epsilon)
///
/// with m and v of each channel over the batch and its pixels (v divided by their number) in
/// training, and running means of these (v by one less) in evaluation.
struct BatchNormSettings {
  ImageShape input;
  double epsilon = 1e-5;
  double momentum = 0.1;  ///< of what a batch adds to running statistics

  [[nodiscard]] double count(Index batch) const noexcept {
    return static_cast<double>(batch * input.pixels());
  }
};

/// What channels are centred and scaled with: rows m and r of (2, channels).
///
/// In training from x, and `running`, rows of means and variances (2, channels), moves towards it.
///
/// Errors    pare::ArgumentError for a batch with one value a channel, which has no variance
template <Scalar S>
void batch_statistics(const BatchNormSettings& s, pare::MatrixView<const S> x,
                      pare::MatrixView<S> statistics, pare::MatrixView<S> running,
                      const pare::Execution& execution) {
  using std::sqrt;
  const Index pixels = s.input.pixels();
  const double count = s.count(x.rows());
  if (count < 2.0)
    throw pare::ArgumentError("a batch norm in training needs more than one value a channel; " +
                              std::to_string(x.rows()) + " inputs of " + to_string(s.input) +
                              " have fewer: a larger batch");
  execution.parallel_for(s.input.channels, [&](Index channel) {
    const auto mean_of = [&](const auto& term) {
      S total{};
      for (Index n = 0; n < x.rows(); ++n) {
        const S* const plane = &x(n, channel * pixels);
        S sum{};
        for (Index i = 0; i < pixels; ++i) sum += term(plane[i]);
        total += sum;
      }
      return total / scalar<S>(count);
    };
    const S mean = mean_of([](S value) { return value; });
    const S variance = mean_of([&](S value) { return (value - mean) * (value - mean); });
    statistics(0, channel) = mean;
    statistics(1, channel) = S{1} / sqrt(variance + scalar<S>(s.epsilon));
    const S kept = scalar<S>(1.0 - s.momentum), added = scalar<S>(s.momentum);
    running(0, channel) = kept * running(0, channel) + added * mean;
    running(1, channel) =
        kept * running(1, channel) + added * (variance * scalar<S>(count / (count - 1.0)));
  });
}

/// The same in evaluation.
template <Scalar S>
void running_statistics(const BatchNormSettings& s, pare::MatrixView<const S> running,
                        pare::MatrixView<S> statistics) {
  using std::sqrt;
  for (Index channel = 0; channel < s.input.channels; ++channel) {
    statistics(0, channel) = running(0, channel);
    statistics(1, channel) = S{1} / sqrt(running(1, channel) + scalar<S>(s.epsilon));
  }
}

/// Shapes    x and y (batch, input), rows contiguous; weight and bias (1, channels), both or
///           neither empty
template <Scalar S>
void batch_norm(const BatchNormSettings& s, pare::MatrixView<const S> x,
                pare::MatrixView<const S> statistics, pare::MatrixView<const S> weight,
                pare::MatrixView<const S> bias, pare::MatrixView<S> y,
                const pare::Execution& execution) {
  const Index pixels = s.input.pixels();
  execution.parallel_for(x.rows() * s.input.channels, [&](Index task) {
    const Index n = task / s.input.channels, channel = task % s.input.channels;
    const S mean = statistics(0, channel);
    const S factor = statistics(1, channel) * (weight.empty() ? S{1} : weight(0, channel));
    const S shift = bias.empty() ? S{} : bias(0, channel);
    const S* const in = &x(n, channel * pixels);
    S* const out = &y(n, channel * pixels);
    for (Index i = 0; i < pixels; ++i) out[i] = (in[i] - mean) * factor + shift;
  });
}

/// dx, dweight and dbias += gradients; an empty view is left out. In training the statistics are
/// functions of x, too; in evaluation constants.
template <Scalar S>
void batch_norm_backward(const BatchNormSettings& s, bool is_training, pare::MatrixView<const S> dy,
                         pare::MatrixView<const S> x, pare::MatrixView<const S> statistics,
                         pare::MatrixView<const S> weight, pare::MatrixView<S> dweight,
                         pare::MatrixView<S> dbias, pare::MatrixView<S> dx,
                         const pare::Execution& execution) {
  const Index pixels = s.input.pixels();
  execution.parallel_for(s.input.channels, [&](Index channel) {
    const S mean = statistics(0, channel), reciprocal = statistics(1, channel);
    S sum{}, along{};
    for (Index n = 0; n < x.rows(); ++n) {
      const S* const in = &x(n, channel * pixels);
      const S* const up = &dy(n, channel * pixels);
      S of_plane{}, along_plane{};
      for (Index i = 0; i < pixels; ++i) {
        of_plane += up[i];
        along_plane += up[i] * (in[i] - mean);
      }
      sum += of_plane;
      along += along_plane;
    }
    along *= reciprocal;
    if (!dweight.empty()) dweight(0, channel) += along;
    if (!dbias.empty()) dbias(0, channel) += sum;
    if (dx.empty()) return;
    const S factor = reciprocal * (weight.empty() ? S{1} : weight(0, channel));
    const S count = scalar<S>(s.count(x.rows()));
    const S common = is_training ? sum / count : S{};
    const S slope = is_training ? along * reciprocal / count : S{};
    for (Index n = 0; n < x.rows(); ++n) {
      const S* const in = &x(n, channel * pixels);
      const S* const up = &dy(n, channel * pixels);
      S* const out = &dx(n, channel * pixels);
      for (Index i = 0; i < pixels; ++i)
        out[i] += factor * (up[i] - common - (in[i] - mean) * slope);
    }
  });
}

}  // namespace training
