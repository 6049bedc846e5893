#pragma once

#include <cmath>

#include "pare/core/lanes.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/scores/channel_norm.hpp"

namespace pare {

namespace detail {

/// sum (a - b)^2 in float64.
[[nodiscard]] inline double squared_distance(const float* a, const float* b, Index count) noexcept {
  double lanes[step_lanes] = {};
  Index i = 0;
  const auto add = [&](Index lane, Index at) {
    const double d = static_cast<double>(a[at]) - static_cast<double>(b[at]);
    lanes[lane] += d * d;
  };
  for (; i + step_lanes <= count; i += step_lanes) {
    PARE_UNROLL
    for (Index l = 0; l < step_lanes; ++l) add(l, i + l);
  }
  for (; i < count; ++i) add(0, i);
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace detail

/// The sum of a channel's distances to all others: low where others can replace it, near the
/// geometric median of all, however large it is.
///
///     score_c = sum over d of ||w_c - w_d||_p
///
/// Shapes    as channel_norms
/// Errors    as channel_norms
/// Accuracy  float64 sums
/// Cost      channels^2 times the size of one
/// Source    He et al., "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks
///           Acceleration", 2019
template <class T, std::size_t Rank>
[[nodiscard]] Vector<float> fpgm_scores(TensorView<T, Rank> w, Index axis, double p = 2.0,
                                        const Execution& execution = {}) {
  const std::size_t along = detail::require_axis(axis, Rank);
  detail::require_norm(p);
  detail::require_finite_channels(TensorView<const float, Rank>(w), along, "weight");
  const Index channels = w.extent(along);
  Matrix<float> flat({channels, channels == 0 ? 0 : w.size() / channels});
  for (Index c = 0; c < channels; ++c) {
    float* next = flat.data() + c * flat.cols();
    detail::for_each_position([&](float v) { *next++ = v; }, w.select(along, c));
  }
  const auto distance = [&](Index c, Index d) {
    const float *const a = flat.data() + c * flat.cols(), *const b = flat.data() + d * flat.cols();
    if (p == 2.0) return std::sqrt(detail::squared_distance(a, b, flat.cols()));
    return detail::p_norm(p, [&](const auto& f) {
      for (Index k = 0; k < flat.cols(); ++k)
        f(static_cast<double>(a[k]) - static_cast<double>(b[k]));
    });
  };
  Vector<float> scores({channels});
  execution.parallel_for(channels, [&](Index c) {
    double sum = 0.0;
    for (Index d = 0; d < channels; ++d)
      if (d != c) sum += distance(c, d);
    scores[c] = static_cast<float>(sum);
  });
  for (Index c = 0; c < channels; ++c)
    if (!is_finite(static_cast<double>(scores[c])))
      throw NumericError("the score of channel " + std::to_string(c) + " is beyond float");
  return scores;
}
template <std::size_t Rank>
[[nodiscard]] Vector<float> fpgm_scores(const Tensor<float, Rank>& w, Index axis, double p = 2.0,
                                        const Execution& execution = {}) {
  return fpgm_scores(w.view(), axis, p, execution);
}

}  // namespace pare
