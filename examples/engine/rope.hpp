#pragma once

#include <cmath>

#include "engine/config.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace engine {

/// Rotary position embedding in the half-split order of Hugging Face LLaMA: element i of a head is
/// paired with element i + head_dim / 2.
/// Source    Su et al., "RoFormer", 2021
class Rope {
 public:
  Rope() = default;
  explicit Rope(const ModelConfig& config)
      : head_dim_(config.head_dim), frequencies_({config.head_dim / 2}) {
    for (Index i = 0; i < head_dim_ / 2; ++i)
      frequencies_[i] =
          std::pow(config.rope_theta, -static_cast<float>(2 * i) / static_cast<float>(head_dim_));
  }

  /// Rotates every head of x (tokens, heads * head_dim) in place; row t is at `first + t % period`.
  void apply(pare::MatrixView<float> x, Index first, Index period,
             const pare::Execution& execution) const {
    const Index half = head_dim_ / 2, heads = x.cols() / head_dim_;
    execution.parallel_for(x.rows(), [&](Index t) {
      const float position = static_cast<float>(first + t % period);
      for (Index i = 0; i < half; ++i) {
        const float angle = position * frequencies_[i];
        const float cosine = std::cos(angle), sine = std::sin(angle);
        for (Index h = 0; h < heads; ++h) {
          float& a = x(t, h * head_dim_ + i);
          float& b = x(t, h * head_dim_ + half + i);
          const float rotated = a * cosine - b * sine;
          b = b * cosine + a * sine;
          a = rotated;
        }
      }
    });
  }

 private:
  Index head_dim_ = 0;
  pare::Vector<float> frequencies_;
};

}  // namespace engine
