#pragma once

#include <algorithm>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace pare {

/// Mean, variance and mean square of a layer's inputs per channel: what Wanda, RIA and FLAP ask
/// for.
///
/// Accuracy  float64; squares are taken around the mean of each call, so that large means cost no
///           digits
/// Order     independent of the number of threads; halves merge into the whole up to rounding
class ActivationMoments {
 public:
  /// Throws ShapeError for a negative number.
  explicit ActivationMoments(Index in_features) : mean_({in_features}), deviation_({in_features}) {}

  /// Adds the tokens of x (tokens, in_features). Throws ShapeError when the widths differ and
  /// NumericError naming an element that is not finite; nothing has changed then.
  void add(MatrixView<const float> x, const Execution& execution = {});

  /// Adds what another one has seen. Throws ShapeError when the sizes differ.
  void merge(const ActivationMoments& other);

  [[nodiscard]] Index in_features() const noexcept { return mean_.size(); }
  /// Tokens seen. The statistics below throw ArgumentError when there are none, and NumericError
  /// for one beyond float.
  [[nodiscard]] Index count() const noexcept { return count_; }

  [[nodiscard]] Vector<float> mean() const {
    return statistic(1, [&](Index j) { return mean_[j]; });
  }
  /// The unbiased one; of two tokens or more.
  [[nodiscard]] Vector<float> variance() const {
    return statistic(2, [&](Index j) { return deviation_[j] / static_cast<double>(count_ - 1); });
  }
  /// The mean of x^2: the squared norm of a channel, over the number of tokens.
  [[nodiscard]] Vector<float> mean_square() const {
    return statistic(1, [&](Index j) {
      return deviation_[j] / static_cast<double>(count_) + mean_[j] * mean_[j];
    });
  }

 private:
  /// What `tokens` more had in channel j: Chan, Golub and LeVeque's rule.
  void combine(Index j, Index tokens, double mean, double deviation) noexcept {
    const double share = static_cast<double>(tokens) / static_cast<double>(count_ + tokens);
    const double step = mean - mean_[j];
    mean_[j] += step * share;
    deviation_[j] += deviation + step * step * static_cast<double>(count_) * share;
  }

  template <class F>
  [[nodiscard]] Vector<float> statistic(Index least, const F& of_channel) const {
    if (count_ < least)
      throw ArgumentError("the activation moments have seen " + std::to_string(count_) +
                          " tokens, " + std::to_string(least) + " are needed");
    Vector<float> values({in_features()});
    for (Index j = 0; j < in_features(); ++j) {
      values[j] = static_cast<float>(of_channel(j));
      if (!is_finite(static_cast<double>(values[j])))
        throw NumericError("the moment of channel " + std::to_string(j) + " is beyond float");
    }
    return values;
  }

  Vector<double> mean_, deviation_;  ///< the latter is the sum of (x - mean)^2
  Index count_ = 0;
};

inline void ActivationMoments::add(MatrixView<const float> x, const Execution& execution) {
  if (x.cols() != in_features())
    throw ShapeError("activations of shape " + to_string(x.shape()) + " do not fit moments of " +
                     std::to_string(in_features()) + " inputs");
  require_finite(x, "activation");
  if (x.rows() == 0) return;
  constexpr Index width = 64;  // channels whose sums stay in a first-level cache
  execution.parallel_for(ceil_div(in_features(), width), [&](Index block) {
    const Index begin = block * width, end = std::min(in_features(), begin + width);
    double means[width] = {}, deviations[width] = {};
    for (Index t = 0; t < x.rows(); ++t)
      for (Index j = begin; j < end; ++j) means[j - begin] += static_cast<double>(x(t, j));
    for (double& mean : means) mean /= static_cast<double>(x.rows());
    for (Index t = 0; t < x.rows(); ++t)
      for (Index j = begin; j < end; ++j) {
        const double d = static_cast<double>(x(t, j)) - means[j - begin];
        deviations[j - begin] += d * d;
      }
    for (Index j = begin; j < end; ++j)
      combine(j, x.rows(), means[j - begin], deviations[j - begin]);
  });
  count_ += x.rows();
}

inline void ActivationMoments::merge(const ActivationMoments& other) {
  if (other.in_features() != in_features())
    throw ShapeError("cannot merge moments of " + std::to_string(in_features()) + " and " +
                     std::to_string(other.in_features()) + " inputs");
  const Index tokens = other.count_;
  if (tokens == 0) return;
  for (Index j = 0; j < in_features(); ++j) combine(j, tokens, other.mean_[j], other.deviation_[j]);
  count_ += tokens;
}

}  // namespace pare
