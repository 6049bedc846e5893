#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace pare {

/// Magnitudes of a layer's inputs per channel: mean for AWQ, maximum for SmoothQuant.
///
/// Accuracy  float64 sums
/// Order     independent of the number of threads
class ActivationStatistics {
 public:
  /// Throws ShapeError for a negative number.
  explicit ActivationStatistics(Index in_features)
      : abs_sum_({in_features}), min_({in_features}), max_({in_features}) {
    min_.fill(std::numeric_limits<float>::infinity());
    max_.fill(-std::numeric_limits<float>::infinity());
  }

  /// Adds the tokens of x (tokens, in_features). Throws ShapeError when the widths differ and
  /// NumericError naming an element that is not finite; nothing has changed then.
  void add(MatrixView<const float> x, const Execution& execution = {});

  /// Adds what another one has seen. Throws ShapeError when the sizes differ.
  void merge(const ActivationStatistics& other);

  [[nodiscard]] Index in_features() const noexcept { return abs_sum_.size(); }
  /// Tokens seen. The statistics below throw ArgumentError when there are none.
  [[nodiscard]] Index count() const noexcept { return count_; }

  /// Mean of |x| per channel.
  [[nodiscard]] Vector<float> mean_abs() const;
  /// Maximum of |x| per channel.
  [[nodiscard]] Vector<float> absmax() const;
  /// Smallest and largest value of all channels.
  [[nodiscard]] float min() const;
  [[nodiscard]] float max() const;

 private:
  void require_tokens() const {
    if (count_ == 0 || in_features() == 0)
      throw ArgumentError("the activation statistics have seen no value");
  }

  Vector<double> abs_sum_;
  Vector<float> min_, max_;
  Index count_ = 0;
};

inline void ActivationStatistics::add(MatrixView<const float> x, const Execution& execution) {
  if (x.cols() != in_features())
    throw ShapeError("activations of shape " + to_string(x.shape()) + " do not fit statistics of " +
                     std::to_string(in_features()) + " inputs");
  require_finite(x, "activation");
  constexpr Index width = 256;  // channels whose sums stay in a first-level cache
  execution.parallel_for(ceil_div(in_features(), width), [&](Index block) {
    const Index begin = block * width, end = std::min(in_features(), begin + width);
    for (Index t = 0; t < x.rows(); ++t)
      for (Index j = begin; j < end; ++j) {
        const float value = x(t, j);
        abs_sum_[j] += static_cast<double>(std::fabs(value));
        min_[j] = std::min(min_[j], value);
        max_[j] = std::max(max_[j], value);
      }
  });
  count_ += x.rows();
}

inline void ActivationStatistics::merge(const ActivationStatistics& other) {
  if (other.in_features() != in_features())
    throw ShapeError("cannot merge statistics of " + std::to_string(in_features()) + " and " +
                     std::to_string(other.in_features()) + " inputs");
  for (Index j = 0; j < in_features(); ++j) {
    abs_sum_[j] += other.abs_sum_[j];
    min_[j] = std::min(min_[j], other.min_[j]);
    max_[j] = std::max(max_[j], other.max_[j]);
  }
  count_ += other.count_;
}

inline Vector<float> ActivationStatistics::mean_abs() const {
  require_tokens();
  Vector<float> mean({in_features()});
  for (Index j = 0; j < in_features(); ++j)
    mean[j] = static_cast<float>(abs_sum_[j] / static_cast<double>(count_));
  return mean;
}

inline Vector<float> ActivationStatistics::absmax() const {
  require_tokens();
  Vector<float> largest({in_features()});
  for (Index j = 0; j < in_features(); ++j) largest[j] = std::max(-min_[j], max_[j]);
  return largest;
}

inline float ActivationStatistics::min() const {
  require_tokens();
  return *std::min_element(min_.data(), min_.data() + min_.size());
}

inline float ActivationStatistics::max() const {
  require_tokens();
  return *std::max_element(max_.data(), max_.data() + max_.size());
}

}  // namespace pare
