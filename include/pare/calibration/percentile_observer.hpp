#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "pare/calibration/histogram_observer.hpp"

namespace pare {

/// Which edge of the bin where the percentile falls bounds the range.
enum class PercentileEdge : std::uint8_t {
  outer,  ///< covers at least the percentile, and never nothing: the default
  inner   ///< the left edge of the bin of |x|: NVIDIA's pytorch-quantization and ONNX Runtime
};

/// Clips the values beyond a percentile of those observed.
///
/// Without a zero point the threshold is the percentile of |x|; with one, half of the values left
/// out are cut on each side. The range never exceeds the observed one.
/// Errors    ArgumentError for a percentile outside (0, 100]
struct PercentileMethod {
  double percentile = 99.99;
  PercentileEdge edge = PercentileEdge::outer;

  template <Format F>
  [[nodiscard]] Range range(const Histogram& histogram, const FitOptions& = {}) const {
    if (!(percentile > 0.0 && percentile <= 100.0))
      throw ArgumentError("percentile " + std::to_string(percentile) + " is outside (0, 100]");
    const Range observed = histogram.range();
    const double width = histogram.bin_width();
    const Index outer = edge == PercentileEdge::outer ? 1 : 0;
    if constexpr (F::has_zero_point) {
      const std::uint64_t inside = values_inside(50.0 + percentile / 2.0, histogram.total());
      Index below = -Histogram::bins, above = -Histogram::bins;
      for (std::uint64_t seen = histogram.count(below); seen < inside;)
        seen += histogram.count(++below);
      for (std::uint64_t seen = histogram.count(-above - 1); seen < inside;)
        seen += histogram.count(-++above - 1);
      return {bounded(-width * static_cast<double>(above + outer), observed),
              bounded(width * static_cast<double>(below + outer), observed)};
    } else {
      const std::uint64_t inside = values_inside(percentile, histogram.total());
      Index bin = 0;
      for (std::uint64_t seen = magnitude(histogram, bin); seen < inside;)
        seen += magnitude(histogram, ++bin);
      return detail::clip_range<F>(observed, width * static_cast<double>(bin + outer));
    }
  }

 private:
  /// The least number of values that is `share` percent of `total`, at least 1. The factor keeps
  /// the rounding of, say, 99.99 from turning 9999 of 10000 into 10000.
  [[nodiscard]] static std::uint64_t values_inside(double share, Index total) noexcept {
    const double needed = std::ceil(share * static_cast<double>(total) / 100.0 * (1.0 - 1e-12));
    return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(needed));
  }

  [[nodiscard]] static std::uint64_t magnitude(const Histogram& histogram, Index bin) noexcept {
    return histogram.count(bin) + histogram.count(-bin - 1);
  }

  [[nodiscard]] static float bounded(double bound, Range observed) noexcept {
    return static_cast<float>(
        std::clamp(bound, static_cast<double>(observed.lo), static_cast<double>(observed.hi)));
  }
};

/// `PercentileObserver({.percentile = 99.999})`
using PercentileObserver = HistogramObserver<PercentileMethod>;
static_assert(Observer<PercentileObserver>);

}  // namespace pare
