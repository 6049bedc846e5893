#pragma once

#include <string>

#include "pare/distillation/loss.hpp"

namespace pare::detail {

/// What a sum over samples is divided by. Throws ShapeError for another number of weights,
/// ArgumentError for a weight or a divisor that is negative or not finite.
[[nodiscard]] inline double divisor_of_samples(Index samples, const SampleOptions& options) {
  const VectorView<const double> weights = options.sample_weights;
  if (!weights.empty() && weights.size() != samples)
    throw ShapeError("there are " + std::to_string(weights.size()) + " weights for " +
                     std::to_string(samples) + " samples");
  double counted = weights.empty() ? static_cast<double>(samples) : 0.0;
  for (Index i = 0; i < weights.size(); ++i) {
    if (!is_finite(weights[i]) || weights[i] < 0.0)
      throw ArgumentError("the weight of sample " + std::to_string(i) + " is " +
                          std::to_string(weights[i]) + ": it must be a number from 0");
    counted += weights[i] > 0.0 ? 1.0 : 0.0;
  }
  require_loss_weight(options.weight);
  if (!is_finite(options.divisor) || options.divisor < 0.0)
    throw ArgumentError(
        "a sum is divided by a positive number or by that of its samples (0), not by " +
        std::to_string(options.divisor));
  return options.divisor > 0.0 ? options.divisor : counted > 0.0 ? counted : 1.0;
}

/// The loss of a batch from those of its samples. `loss_of(i, factor)` returns L_i, and writes the
/// gradient of L_i times `factor`. Samples of weight 0 are called with the factor 0 and their
/// losses are dropped: what they hold, NaN too, is padding. Throws as divisor_of_samples. The loss
/// is 0 where no sample counts.
template <class F>
[[nodiscard]] double sum_over_samples(Index samples, const SampleOptions& options,
                                      const Execution& execution, const F& loss_of) {
  const VectorView<const double> weights = options.sample_weights;
  const double divisor = divisor_of_samples(samples, options);
  Vector<double> losses({samples});
  execution.parallel_for(samples, [&](Index i) {
    const double w = weights.empty() ? 1.0 : weights[i];
    const double loss = loss_of(i, options.weight * w / divisor);
    losses[i] = w > 0.0 ? w * loss : 0.0;
  });
  double sum = 0.0;
  for (Index i = 0; i < samples; ++i) sum += losses[i];
  return options.weight * sum / divisor;
}

/// Writes or adds to one element of a gradient.
template <class T>
void put_gradient(T& element, double value, bool add) noexcept {
  element = static_cast<T>(add ? static_cast<double>(element) + value : value);
}

}  // namespace pare::detail
