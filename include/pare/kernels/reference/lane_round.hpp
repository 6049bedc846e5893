#pragma once

#include "pare/formats/rounding.hpp"
#include "pare/kernels/contract/lane_round.hpp"

namespace pare::kernels::reference {

inline void lane_round(const float* values, const LaneParameters& p, std::int32_t* codes,
                       float* kept) noexcept {
  for (int l = 0; l < 16; ++l) {
    codes[l] = round_to_code(quotient(values[l], p.scales[l]), p.zero_points[l], p.lo, p.hi);
    kept[l] = p.scales[l] * static_cast<float>(codes[l] - p.zero_points[l]);
  }
}

}  // namespace pare::kernels::reference
