#pragma once

#include <cstdint>

#include "pare/core/random.hpp"
#include "pare/pruning/score.hpp"

namespace pare {

/// Uniform numbers in [0, 1), whatever the weights: what a score has to be better than.
///
/// Values    the same for a seed on every platform; of 24 bits, so that large matrices have ties.
///           Layers need a seed each, or like positions go in all of them
/// Errors    ShapeError for a negative extent
[[nodiscard]] inline Matrix<float> random_scores(const Shape<2>& shape, std::uint64_t seed) {
  Random random(seed);
  Matrix<float> scores(shape);
  for (float& score : scores) score = random.uniform();
  return scores;
}

struct RandomScore {
  static constexpr std::string_view name = "random";
  using Inputs = Weights;
  std::uint64_t seed = 0;
  [[nodiscard]] Matrix<float> operator()(const Weights& inputs, const Execution& = {}) const {
    return random_scores(inputs.w.shape(), seed);
  }
};

}  // namespace pare
