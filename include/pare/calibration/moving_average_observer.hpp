#pragma once

#include <cmath>
#include <string>

#include "pare/calibration/observer.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// An exponential moving average of the batches' minima and maxima. See Observer.
///
///     m_1 = range of batch 1,  m_n = m_(n-1) + c (range of batch n - m_(n-1))
///
/// One call of observe() is one batch. The average is kept in float64.
/// Source    PyTorch, MovingAverageMinMaxObserver
class MovingAverageObserver {
 public:
  /// Throws ArgumentError for a constant c outside (0, 1].
  explicit MovingAverageObserver(double constant = 0.01) : constant_(constant) {
    if (!(constant > 0.0 && constant <= 1.0))
      throw ArgumentError("the averaging constant " + std::to_string(constant) +
                          " is outside (0, 1]");
  }

  void observe(MatrixView<const float> x) {
    if (x.empty()) return;
    const Range batch = detail::batch_range(x);
    const Bounds now{static_cast<double>(batch.lo), static_cast<double>(batch.hi)};
    if (batches_ == 0)
      first_ = mean_ = now;
    else
      mean_ = {mean_.lo + constant_ * (now.lo - mean_.lo),
               mean_.hi + constant_ * (now.hi - mean_.hi)};
    ++batches_;
    count_ += x.size();
  }
  void observe(VectorView<const float> x) { observe(detail::as_one_row(x)); }

  /// Exact up to rounding: `other`'s k batches, had they come after ours, would have started from
  /// our average m instead of their first batch b, and all but (1 - c)^k of that is forgotten:
  ///
  ///     m' = other.m + (1 - c)^k (m - b)
  ///
  /// Throws ArgumentError when the constants differ.
  void merge(const MovingAverageObserver& other) {
    if (constant_ != other.constant_)
      throw ArgumentError("moving averages with constants " + std::to_string(constant_) + " and " +
                          std::to_string(other.constant_) + " cannot be merged");
    if (other.batches_ == 0) return;
    if (batches_ == 0) {
      *this = other;
      return;
    }
    const double kept = std::pow(1.0 - constant_, static_cast<double>(other.batches_));
    mean_ = {other.mean_.lo + kept * (mean_.lo - other.first_.lo),
             other.mean_.hi + kept * (mean_.hi - other.first_.hi)};
    batches_ += other.batches_;
    count_ += other.count_;
  }

  /// Values observed.
  [[nodiscard]] Index count() const noexcept { return count_; }
  [[nodiscard]] Index batches() const noexcept { return batches_; }

  [[nodiscard]] Range range() const {
    detail::require_observed(count_);
    return {static_cast<float>(mean_.lo), static_cast<float>(mean_.hi)};
  }

  template <Format F>
  [[nodiscard]] typename F::Parameters params(const FitOptions& options = {}) const {
    return fit_whole<F>(range(), options);
  }

 private:
  struct Bounds {
    double lo = 0.0, hi = 0.0;
  };

  double constant_;
  Bounds first_, mean_;
  Index batches_ = 0, count_ = 0;
};
static_assert(Observer<MovingAverageObserver>);

}  // namespace pare
