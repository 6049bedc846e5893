#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "pare/calibration/histogram_observer.hpp"

namespace pare {

/// Chooses the threshold T of |x| with the least squared error of quantization in format F.
///
///     error(T) = sum over bins of count * (decode(encode(centre)) - centre)^2
///
/// Candidates are the observed range and the centres of the bins of |x| from the 128th on; the
/// widest range wins a tie. Without a zero point the range is [-T, T], with one the observed range
/// cut to it. Centres are cut to the observed range.
/// Cost      1920 x 4096 encodings at most
/// Source    the search of NVIDIA's pytorch-quantization, with the format's own rounding.
struct MseMethod {
  template <Format F>
  [[nodiscard]] static Range range(const Histogram& histogram, const FitOptions& options = {}) {
    const std::vector<Point> points = centres(histogram);
    const Range observed = histogram.range();
    Range best = detail::clip_range<F>(observed, observed.absmax());
    double least = error<F>(points, best, options, std::numeric_limits<double>::infinity());
    const auto last = static_cast<Index>(histogram.magnitudes().size());
    for (Index i = last; i-- > 128;) {
      const double threshold = histogram.bin_width() * (static_cast<double>(i) + 0.5);
      const Range trial = detail::clip_range<F>(observed, threshold);
      if (const double e = error<F>(points, trial, options, least); e < least) {
        least = e;
        best = trial;
      }
    }
    return best;
  }

 private:
  struct Point {
    float centre;
    double count;
  };

  /// The bins that hold values, outermost first: clipping shows there, so poor candidates are
  /// given up early.
  [[nodiscard]] static std::vector<Point> centres(const Histogram& histogram) {
    const double width = histogram.bin_width();
    const Range observed = histogram.range();
    std::vector<Point> points;
    for (Index k = Histogram::bins; k-- > 0;)
      for (const Index b : {k, -k - 1})
        if (const auto count = static_cast<double>(histogram.count(b)); count > 0.0) {
          const double centre =
              std::clamp<double>(width * (static_cast<double>(b) + 0.5), observed.lo, observed.hi);
          points.push_back({static_cast<float>(centre), count});
        }
    return points;
  }

  /// Infinite when the scale is not usable or the sum exceeds `limit`.
  template <Format F>
  [[nodiscard]] static double error(const std::vector<Point>& points, Range range,
                                    const FitOptions& options, double limit) {
    const typename F::Parameters parameters = fit_whole<F>(range, options);
    if (!is_usable<F>(parameters)) return std::numeric_limits<double>::infinity();
    double sum = 0.0;
    for (const Point& p : points) {
      const float value = F::decode(F::encode(p.centre, parameters), parameters);
      const double difference = static_cast<double>(value) - static_cast<double>(p.centre);
      sum += p.count * difference * difference;
      if (sum > limit) return std::numeric_limits<double>::infinity();
    }
    return sum;
  }
};

using MseObserver = HistogramObserver<MseMethod>;
static_assert(Observer<MseObserver>);

}  // namespace pare
