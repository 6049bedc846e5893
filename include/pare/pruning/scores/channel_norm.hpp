#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "pare/pruning/channels.hpp"

namespace pare {

namespace detail {

/// (sum |v|^p)^(1/p) in double, of the numbers that `visit` gives to a function.
template <class Visit>
[[nodiscard]] double p_norm(double p, const Visit& visit) {
  double largest = 0.0, smallest = std::numeric_limits<double>::infinity(), sum = 0.0;
  Index count = 0;
  visit([&](double v) {
    const double magnitude = std::fabs(v);
    largest = std::max(largest, magnitude);
    smallest = std::min(smallest, magnitude);
    sum += p == 2.0 ? v * v : magnitude;
    ++count;
  });
  if (count == 0 || largest == 0.0) return 0.0;
  if (p == 1.0) return sum;
  if (p == 2.0) return std::sqrt(sum);
  if (p == std::numeric_limits<double>::infinity()) return largest;
  if (p == -std::numeric_limits<double>::infinity()) return smallest;
  sum = 0.0;
  visit([&](double v) { sum += std::pow(std::fabs(v) / largest, p); });
  return largest * std::pow(sum, 1.0 / p);
}

inline void require_norm(double p) {
  if (!(p > 0.0) && p != -std::numeric_limits<double>::infinity())
    throw ArgumentError("there is no norm with p = " + std::to_string(p) +
                        ": it is positive, infinity or minus infinity");
}

}  // namespace detail

/// The p-norm of each channel: of the slices along one axis, which are filters of a convolution
/// (axis 0), what its inputs meet (axis 1), rows or columns of a matrix.
///
/// Shapes    w of any rank and strides; the result has the extent of `axis`, which may be negative
///           to count from the end
/// Values    p = 1, 2, infinity (largest magnitude), minus infinity (smallest), or another positive
///           number
/// Errors    ShapeError for an axis that does not exist; ArgumentError for another p; NumericError
///           naming the channel of an element that is not finite, or whose norm is beyond float
/// Edge      a channel without elements has 0
/// Accuracy  float64 sums
/// Source    Li et al., "Pruning Filters for Efficient ConvNets", 2017
template <class T, std::size_t Rank>
[[nodiscard]] Vector<float> channel_norms(TensorView<T, Rank> w, Index axis, double p = 2.0) {
  const std::size_t along = detail::require_axis(axis, Rank);
  detail::require_norm(p);
  detail::require_finite_channels(TensorView<const float, Rank>(w), along, "weight");
  Vector<float> norms({w.extent(along)});
  for (Index c = 0; c < norms.size(); ++c) {
    const auto channel = w.select(along, c);
    norms[c] = static_cast<float>(detail::p_norm(p, [&](const auto& f) {
      detail::for_each_position([&](float v) { f(static_cast<double>(v)); }, channel);
    }));
    if (!is_finite(static_cast<double>(norms[c])))
      throw NumericError("the norm of channel " + std::to_string(c) + " is beyond float");
  }
  return norms;
}
template <std::size_t Rank>
[[nodiscard]] Vector<float> channel_norms(const Tensor<float, Rank>& w, Index axis,
                                          double p = 2.0) {
  return channel_norms(w.view(), axis, p);
}

}  // namespace pare
