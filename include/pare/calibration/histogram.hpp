#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "pare/calibration/observer.hpp"

namespace pare {

/// Counts of values in 2048 equal bins of |x| on either side of zero, in 32 KiB.
///
///     bin b in [-2048, 2048) spans b w .. (b + 1) w,  w = 2^e;  the edge nearer zero is inside
///
/// e is the smallest exponent for which the largest magnitude seen has a bin, so 1024 to 2048
/// bins of the wider side are in use. When a larger value arrives, neighbouring bins are added
/// until it fits: 2^d bins become exactly one, so the counts depend on the values only, never on
/// their order or on how they were split over histograms that were merged.
///
/// Edge      a value 2000 times beyond the rest leaves the rest in one or two bins
class Histogram {
 public:
  static constexpr Index bins = 2048;

  Histogram() : counts_(static_cast<std::size_t>(2 * bins)) {}

  /// Throws NumericError naming the position of NaN or infinity; nothing is added then.
  void add(MatrixView<const float> x) {
    if (x.empty()) return;
    include(detail::batch_range(x));
    const double per_bin = std::ldexp(1.0, -exponent_);
    for (Index i = 0; i < x.rows(); ++i)
      for (Index j = 0; j < x.cols(); ++j) {
        const float v = x(i, j);
        // Exact: a product with a power of two.
        const auto distance = static_cast<Index>(std::fabs(static_cast<double>(v)) * per_bin);
        ++at(v < 0.0f ? -distance - 1 : distance);
      }
    total_ += x.size();
  }

  /// In any order of merging the result is the same, bit for bit.
  void merge(const Histogram& other) {
    if (other.total_ == 0) return;
    include(other.range_);
    const int shift = exponent_ - other.exponent_;
    for (Index b = -bins; b < bins; ++b) at(wider(b, shift)) += other.count(b);
    total_ += other.total_;
  }

  /// Values added.
  [[nodiscard]] Index total() const noexcept { return total_; }
  /// Exact minimum and maximum of the values; {0, 0} when there are none.
  [[nodiscard]] Range range() const noexcept { return range_; }
  /// w, in float64 because an edge can lie beyond the largest float.
  [[nodiscard]] double bin_width() const noexcept { return std::ldexp(1.0, exponent_); }

  /// Values in bin b, -2048 <= b < 2048.
  [[nodiscard]] std::uint64_t count(Index b) const noexcept {
    return counts_[static_cast<std::size_t>(b + bins)];
  }

  /// The histogram of |x|, up to the last bin that holds a value.
  [[nodiscard]] std::vector<std::uint64_t> magnitudes() const {
    std::vector<std::uint64_t> sums(static_cast<std::size_t>(bins));
    for (Index b = 0; b < bins; ++b) sums[static_cast<std::size_t>(b)] = count(b) + count(-b - 1);
    while (!sums.empty() && sums.back() == 0) sums.pop_back();
    return sums;
  }

  friend bool operator==(const Histogram& a, const Histogram& b) noexcept {
    return a.exponent_ == b.exponent_ && a.total_ == b.total_ && a.range_.lo == b.range_.lo &&
           a.range_.hi == b.range_.hi && a.counts_ == b.counts_;
  }

 private:
  // The spacing of the subnormal floats: no value needs narrower bins.
  static constexpr int smallest_exponent = -149;

  [[nodiscard]] std::uint64_t& at(Index b) noexcept {
    return counts_[static_cast<std::size_t>(b + bins)];
  }

  /// The bin that holds bin b when bins are 2^shift times as wide: right shifts round down, so
  /// both signs keep their edges. After 11 doublings each side is one bin.
  [[nodiscard]] static Index wider(Index b, int shift) noexcept { return b >> std::min(shift, 11); }

  /// Makes room for values in `range`.
  void include(Range range) noexcept {
    range_ = total_ == 0 ? range : detail::join(range_, range);
    const float largest = range_.absmax();
    if (largest == 0.0f) return;
    // 2^m <= largest < 2^(m + 1) falls into bins [1024, 2048) of width 2^(m - 10).
    const int shift = std::ilogb(largest) - 10 - exponent_;
    if (shift <= 0) return;
    // Going outwards from zero, no count is moved twice.
    for (Index b = 0; b < bins; ++b)
      for (const Index from : {b, -b - 1}) {
        const std::uint64_t moved = count(from);
        at(from) = 0;
        at(wider(from, shift)) += moved;
      }
    exponent_ += shift;
  }

  std::vector<std::uint64_t> counts_;
  Range range_;
  int exponent_ = smallest_exponent;
  Index total_ = 0;
};

}  // namespace pare
