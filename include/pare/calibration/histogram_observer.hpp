#pragma once

#include <algorithm>
#include <utility>

#include "pare/calibration/histogram.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// An observer that keeps a Histogram and leaves the choice of the range to `Method`: an
/// aggregate of options with
///
///     template <Format F> Range range(const Histogram&, const FitOptions&) const;
///
/// See Observer. Halves merged give the very parameters of the whole.
template <class Method>
class HistogramObserver {
 public:
  explicit HistogramObserver(Method method = {}) : method_(std::move(method)) {}

  void observe(MatrixView<const float> x) { histogram_.add(x); }
  void observe(VectorView<const float> x) { observe(detail::as_one_row(x)); }

  /// Takes over the values; the options stay ours.
  void merge(const HistogramObserver& other) { histogram_.merge(other.histogram_); }

  /// Values observed.
  [[nodiscard]] Index count() const noexcept { return histogram_.total(); }
  [[nodiscard]] const Histogram& histogram() const noexcept { return histogram_; }

  /// The range chosen for F.
  template <Format F>
  [[nodiscard]] Range range(const FitOptions& options = {}) const {
    detail::require_observed(count());
    return method_.template range<F>(histogram_, options);
  }

  template <Format F>
  [[nodiscard]] typename F::Parameters params(const FitOptions& options = {}) const {
    return fit_whole<F>(range<F>(options), options);
  }

 private:
  Histogram histogram_;
  Method method_;
};

namespace detail {

/// What quantizers of format F cover when magnitudes above `threshold` are clipped: a symmetric
/// range, or, with a zero point, what was observed of it.
template <Format F>
[[nodiscard]] Range clip_range(Range observed, double threshold) noexcept {
  const auto t = static_cast<float>(std::min(threshold, static_cast<double>(observed.absmax())));
  if constexpr (F::has_zero_point)
    return {std::clamp(observed.lo, -t, t), std::clamp(observed.hi, -t, t)};
  else
    return {-t, t};
}

}  // namespace detail

}  // namespace pare
