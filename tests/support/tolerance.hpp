#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "pare/core/tensor_view.hpp"

namespace pare::test {

/// Largest |a - b|; infinity when the shapes differ or one of two values is NaN.
[[nodiscard]] inline double max_difference(MatrixView<const float> a, MatrixView<const float> b) {
  if (a.shape() != b.shape()) return std::numeric_limits<double>::infinity();
  double largest = 0.0;
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j) {
      const double d = std::fabs(static_cast<double>(a(i, j)) - static_cast<double>(b(i, j)));
      largest = d <= largest    ? largest
                : std::isnan(d) ? std::numeric_limits<double>::infinity()
                                : d;
    }
  return largest;
}

/// max |a - b| / max |b|: the error of a product relative to its largest entry.
[[nodiscard]] inline double relative_difference(MatrixView<const float> a,
                                                MatrixView<const float> b) {
  double largest = 0.0;
  for (Index i = 0; i < b.rows(); ++i)
    for (Index j = 0; j < b.cols(); ++j)
      largest = std::fmax(largest, std::fabs(static_cast<double>(b(i, j))));
  const double difference = max_difference(a, b);
  return difference == 0.0 ? 0.0 : difference / largest;
}

/// Number of elements whose bits differ; tells -0 from 0 and compares NaN. -1: shapes differ.
[[nodiscard]] inline Index bit_differences(MatrixView<const float> a, MatrixView<const float> b) {
  if (a.shape() != b.shape()) return -1;
  Index count = 0;
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j)
      count += std::bit_cast<std::uint32_t>(a(i, j)) != std::bit_cast<std::uint32_t>(b(i, j));
  return count;
}

}  // namespace pare::test
