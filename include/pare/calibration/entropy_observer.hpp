#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "pare/calibration/histogram_observer.hpp"

namespace pare {

/// Chooses the threshold T of |x| whose quantized distribution is closest to the observed one.
///
/// For each number i of leading bins, from 128 to all: P is the histogram cut after i bins, with
/// everything beyond in its last bin; Q spreads the counts of each of the 2^(b-1) levels evenly
/// over the non-empty bins of the level. The last i with the least KL(P || Q) wins; T is the right
/// edge of its bins. The bin of the zeros counts as much as its neighbour.
///
/// Without a zero point the range is [-T, T], with one the observed range cut to it, and 2^b
/// levels when all values have one sign.
/// Edge      fewer than 128 bins in use (zeros, subnormals): the observed range
/// Cost      2048 x 2^b logarithms
/// Source    Migacz, "8-bit inference with TensorRT", 2017, as NVIDIA's pytorch-quantization does.
struct EntropyMethod {
  template <Format F>
  [[nodiscard]] Range range(const Histogram& histogram, const FitOptions& = {}) const {
    const Range observed = histogram.range();
    const bool one_sided = F::has_zero_point && (observed.lo >= 0.0f || observed.hi <= 0.0f);
    const Index levels = Index{1} << (F::code_bits - (one_sided ? 0 : 1));
    const Index bins = best_bins(histogram.magnitudes(), levels);
    return detail::clip_range<F>(observed, histogram.bin_width() * static_cast<double>(bins));
  }

  /// The i described above for a histogram of magnitudes.
  [[nodiscard]] static Index best_bins(std::vector<std::uint64_t> counts, Index levels) {
    const auto size = static_cast<Index>(counts.size());
    constexpr Index first = 128;
    if (size <= first) return size;
    counts[0] = counts[1];
    const Sums sums(counts);
    Index best = size;
    double least = std::numeric_limits<double>::infinity();
    for (Index i = first; i <= size; ++i)
      if (const double kl = sums.divergence(i, levels); kl <= least) {
        least = kl;
        best = i;
      }
    return best;
  }

 private:
  /// Sums over the bins [0, k): with them a level costs two look-ups, whatever its bins.
  class Sums {
   public:
    explicit Sums(const std::vector<std::uint64_t>& counts) : sums_(counts.size() + 1) {
      for (std::size_t k = 0; k < counts.size(); ++k) {
        const auto c = static_cast<double>(counts[k]);
        sums_[k + 1] = {sums_[k].count + c, sums_[k].non_empty + (c > 0.0),
                        sums_[k].count_log + x_log_x(c)};
      }
    }

    /// KL(P || Q) = sum P log(P / |P|) - P log(Q / |Q|), all over |P|; infinite when P has counts
    /// where Q has none.
    [[nodiscard]] double divergence(Index i, Index levels) const {
      const Sum all = sums_.back(), inside = at(i);
      const double last = inside.count - at(i - 1).count;
      const double outside = all.count - inside.count;
      if (last == 0.0 && outside > 0.0) return std::numeric_limits<double>::infinity();

      double p_log_p = inside.count_log - x_log_x(last) + x_log_x(last + outside);
      double p_log_q = 0.0, last_level = 0.0;
      for (Index m = 0, begin = 0; m < levels; ++m) {
        // Level m holds the bins k with floor(k levels / i) = m.
        const Index end = ceil_div((m + 1) * i, levels);
        const double count = at(end).count - at(begin).count;
        if (count > 0.0) {
          last_level = std::log(count / (at(end).non_empty - at(begin).non_empty));
          p_log_q += count * last_level;
        }
        begin = end;
      }
      p_log_q += outside * last_level;
      return (p_log_p - p_log_q) / all.count - std::log(all.count / inside.count);
    }

   private:
    struct Sum {
      double count = 0.0, non_empty = 0.0, count_log = 0.0;
    };

    [[nodiscard]] static double x_log_x(double x) noexcept {
      return x > 0.0 ? x * std::log(x) : 0.0;
    }
    [[nodiscard]] const Sum& at(Index k) const noexcept {
      return sums_[static_cast<std::size_t>(k)];
    }

    std::vector<Sum> sums_;
  };
};

using EntropyObserver = HistogramObserver<EntropyMethod>;
static_assert(Observer<EntropyObserver>);

}  // namespace pare
