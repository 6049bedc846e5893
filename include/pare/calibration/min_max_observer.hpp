#pragma once

#include "pare/calibration/observer.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// Covers everything that was observed. See Observer.
class MinMaxObserver {
 public:
  void observe(MatrixView<const float> x) {
    if (x.empty()) return;
    const Range batch = detail::batch_range(x);
    range_ = count_ == 0 ? batch : detail::join(range_, batch);
    count_ += x.size();
  }
  void observe(VectorView<const float> x) { observe(detail::as_one_row(x)); }

  /// In any order of merging the result is the same, bit for bit.
  void merge(const MinMaxObserver& other) {
    if (other.count_ == 0) return;
    range_ = count_ == 0 ? other.range_ : detail::join(range_, other.range_);
    count_ += other.count_;
  }

  /// Values observed.
  [[nodiscard]] Index count() const noexcept { return count_; }

  [[nodiscard]] Range range() const {
    detail::require_observed(count_);
    return range_;
  }

  template <Format F>
  [[nodiscard]] typename F::Parameters params(const FitOptions& options = {}) const {
    return fit_whole<F>(range(), options);
  }

 private:
  Range range_;
  Index count_ = 0;
};
static_assert(Observer<MinMaxObserver>);

}  // namespace pare
