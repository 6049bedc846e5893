#pragma once

#include <cstdint>

namespace pare::kernels {

/// How 16 weight rows, each with parameters of its own, are rounded to integer codes.
struct LaneParameters {
  const float* scales;              ///< 16
  const std::int32_t* zero_points;  ///< 16
  std::int32_t lo, hi;              ///< the least and the largest code
};

}  // namespace pare::kernels
