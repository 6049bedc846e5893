#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#include "pare/core/tensor_view.hpp"

/// Loops over float arrays in steps of eight, written so that compilers make vectors of them at
/// -O2, whatever they know of lengths and aliases.
namespace pare::detail {

inline constexpr Index step_lanes = 8;

/// out[i] = f(a[i], b[i]); out may be a or b.
template <class F>
void transform(const float* a, const float* b, Index count, float* out, F f) noexcept {
  Index i = 0;
  for (; i + step_lanes <= count; i += step_lanes) {
    float lanes[step_lanes];
    PARE_UNROLL
    for (Index l = 0; l < step_lanes; ++l) lanes[l] = f(a[i + l], b[i + l]);
    PARE_UNROLL
    for (Index l = 0; l < step_lanes; ++l) out[i + l] = lanes[l];
  }
  for (; i < count; ++i) out[i] = f(a[i], b[i]);
}

/// sum a[i] b[i] in float64.
[[nodiscard]] inline double dot(const float* a, const float* b, Index count) noexcept {
  double lanes[step_lanes] = {};
  Index i = 0;
  for (; i + step_lanes <= count; i += step_lanes) {
    PARE_UNROLL
    for (Index l = 0; l < step_lanes; ++l)
      lanes[l] += static_cast<double>(a[i + l]) * static_cast<double>(b[i + l]);
  }
  for (; i < count; ++i) lanes[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

/// sum (a[i] - b[i])^2 in float64; strides count elements.
[[nodiscard]] inline double squared_distance(VectorView<const float> a,
                                             VectorView<const float> b) noexcept {
  double lanes[step_lanes] = {};
  const auto add = [&](auto x, auto y) {
    const auto square = [&](Index i) {
      const double d = static_cast<double>(x(i)) - static_cast<double>(y(i));
      return d * d;
    };
    Index i = 0;
    for (; i + step_lanes <= a.size(); i += step_lanes) {
      PARE_UNROLL
      for (Index l = 0; l < step_lanes; ++l) lanes[l] += square(i + l);
    }
    for (; i < a.size(); ++i) lanes[0] += square(i);
  };
  if (a.stride(0) == 1 && b.stride(0) == 1)
    add([p = a.data()](Index i) { return p[i]; }, [p = b.data()](Index i) { return p[i]; });
  else
    add([a](Index i) { return a[i]; }, [b](Index i) { return b[i]; });
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

/// All bits of a lane, or none, for each byte of a mask: how a loop over floats reads one without
/// branches.
struct LaneMasks {
  static constexpr Index lanes = 8;
  std::array<std::array<std::uint32_t, lanes>, 256> of_byte{};

  constexpr LaneMasks() {
    for (std::size_t byte = 0; byte < of_byte.size(); ++byte)
      for (std::size_t l = 0; l < lanes; ++l) of_byte[byte][l] = (byte >> l & 1) != 0 ? ~0u : 0u;
  }
};
inline constexpr LaneMasks lane_masks;

/// x where the mask of the lane has bits, else 0.
[[nodiscard]] inline float where(std::uint32_t lane, float x) noexcept {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & lane);
}

}  // namespace pare::detail
