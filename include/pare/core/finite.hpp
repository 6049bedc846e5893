#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "pare/core/tensor_view.hpp"

namespace pare {

/// True when no element is NaN or infinite. Reads bits, so -ffast-math cannot remove the test.
[[nodiscard]] inline bool all_finite(const float* values, Index count) noexcept {
  // Adding 1 to the exponent of NaN or infinity carries into the sign.
  constexpr Index lanes = 8;
  std::uint32_t seen[lanes] = {};
  const auto look = [&](Index i, Index lane) {
    seen[lane] |= (std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu) + 0x00800000u;
  };
  Index i = 0;
  for (; i + lanes <= count; i += lanes)
    for (Index lane = 0; lane < lanes; ++lane) look(i + lane, lane);
  for (; i < count; ++i) look(i, 0);
  std::uint32_t all = 0;
  for (const std::uint32_t lane : seen) all |= lane;
  return all < 0x80000000u;
}

/// The same of one number.
[[nodiscard]] constexpr bool is_finite(double value) noexcept {
  return (std::bit_cast<std::uint64_t>(value) & 0x7fffffffffffffffu) < 0x7ff0000000000000u;
}

/// NaN itself: infinity is none.
[[nodiscard]] constexpr bool is_nan(double value) noexcept {
  return (std::bit_cast<std::uint64_t>(value) & 0x7fffffffffffffffu) > 0x7ff0000000000000u;
}
[[nodiscard]] constexpr bool is_nan(float value) noexcept {
  return (std::bit_cast<std::uint32_t>(value) & 0x7fffffffu) > 0x7f800000u;
}

/// Throws NumericError naming the first element of `values` that is NaN or infinite.
inline void require_finite(MatrixView<const float> values, std::string_view what) {
  if (values.empty()) return;
  for (Index i = 0; i < values.rows(); ++i) {
    if (values.stride(1) == 1 && all_finite(&values(i, 0), values.cols())) continue;
    for (Index j = 0; j < values.cols(); ++j)
      if (const float v = values(i, j); !all_finite(&v, 1))
        throw NumericError(std::string(what) + " holds " +
                           ((std::bit_cast<std::uint32_t>(v) & 0x7fffffu) ? "NaN" : "infinity") +
                           " at [" + std::to_string(i) + ", " + std::to_string(j) + "]");
  }
}

/// The same of the upper half of a symmetric matrix of float or double, diagonal included.
template <class T>
void require_finite_upper(MatrixView<T> values, std::string_view what) {
  for (Index i = 0; i < values.rows(); ++i)
    for (Index j = i; j < values.cols(); ++j)
      if (!is_finite(static_cast<double>(values(i, j))))
        throw NumericError(std::string(what) + " holds a value that is not finite at [" +
                           std::to_string(i) + ", " + std::to_string(j) + "]");
}

}  // namespace pare
