#pragma once

#include <cstdint>

#include "pare/core/index.hpp"

namespace pare::kernels {

/// What choosing the smallest of n floats takes: passes that wait for no branch. None may be NaN
/// but where it is asked for; both zeros are alike.
struct RankKernel {
  bool (*has_nan)(const float* x, Index n) noexcept;
  /// How many are below a bound.
  Index (*count_below)(const float* x, Index n, float bound) noexcept;
  /// Copies, in order, those in [low, high] and returns how many they are.
  Index (*copy_between)(const float* x, Index n, float low, float high, float* out) noexcept;
  /// Bits, 64 a word, of those that are not below a bound; a last word has zeros at its end.
  void (*bits_from)(const float* x, Index n, float bound, std::uint64_t* words) noexcept;
};

}  // namespace pare::kernels
