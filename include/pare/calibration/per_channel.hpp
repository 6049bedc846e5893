#pragma once

#include <string>
#include <vector>

#include "pare/calibration/observer.hpp"
#include "pare/core/parallel.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// One observer per channel: `PerChannel<MinMaxObserver>(in_features)`.
///
/// Shapes    x (tokens, channels); to observe the rows of a weight pass `w.transposed()`
/// Memory    that of `channels` observers; histograms take 32 KiB each
/// Errors    as Observer; ShapeError for another number of channels
template <Observer O>
class PerChannel {
 public:
  /// Every channel starts as a copy of `prototype`. Throws ArgumentError below 0 channels.
  explicit PerChannel(Index channels, const O& prototype = O())
      : observers_(checked(channels), prototype) {}

  void observe(MatrixView<const float> x, const ParallelFor& parallel_for = {}) {
    require_channels(x.cols());
    require_finite(x, "the observed batch");
    parallel_for(channels(),
                 [&](Index j) { observers_[static_cast<std::size_t>(j)].observe(x.select(1, j)); });
  }

  void merge(const PerChannel& other) {
    require_channels(other.channels());
    for (std::size_t j = 0; j < observers_.size(); ++j) observers_[j].merge(other.observers_[j]);
  }

  [[nodiscard]] Index channels() const noexcept { return static_cast<Index>(observers_.size()); }
  /// Values observed in each channel.
  [[nodiscard]] Index count() const noexcept {
    return observers_.empty() ? 0 : observers_.front().count();
  }
  [[nodiscard]] const O& operator[](Index channel) const {
    return observers_[static_cast<std::size_t>(channel)];
  }

  template <Format F>
  [[nodiscard]] Vector<typename F::Parameters> params(const FitOptions& options = {},
                                                      const ParallelFor& parallel_for = {}) const {
    if (channels() > 0) detail::require_observed(count());
    Vector<typename F::Parameters> result({channels()});
    parallel_for(channels(), [&](Index j) { result[j] = (*this)[j].template params<F>(options); });
    return result;
  }

 private:
  [[nodiscard]] static std::size_t checked(Index channels) {
    if (channels < 0)
      throw ArgumentError("the number of channels is negative: " + std::to_string(channels));
    return static_cast<std::size_t>(channels);
  }

  void require_channels(Index given) const {
    if (given != channels())
      throw ShapeError("an observer of " + std::to_string(channels()) + " channels was given " +
                       std::to_string(given));
  }

  std::vector<O> observers_;
};

}  // namespace pare
