#pragma once

#include <cmath>
#include <initializer_list>

#include "engine/config.hpp"
#include "engine/elementwise.hpp"
#include "engine/scratch_matrix.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace engine {

/// Rotary position embedding in the half-split order of Hugging Face LLaMA: element i of a head is
/// paired with element i + head_dim / 2.
/// Source    Su et al., "RoFormer", 2021
class Rope {
 public:
  explicit Rope(const ModelConfig& config)
      : head_dim_(config.head_dim), frequencies_({config.head_dim / 2}) {
    for (Index i = 0; i < head_dim_ / 2; ++i)
      frequencies_[i] =
          std::pow(config.rope_theta, -static_cast<float>(2 * i) / static_cast<float>(head_dim_));
  }

  /// Rotates every head of q and k (tokens, heads * head_dim) in place; row t is at
  /// `first + t % period`.
  void apply(pare::MatrixView<float> q, pare::MatrixView<float> k, Index first, Index period,
             const pare::Execution& execution) const {
    const Index half = head_dim_ / 2;
    const ScratchMatrix angles(execution, q.rows(), head_dim_);  // cosines, then sines
    execution.parallel_for(q.rows(), [&](Index t) {
      float* const cosines = &angles.view()(t, 0);
      float* const sines = cosines + half;
      const float position = static_cast<float>(first + t % period);
      for (Index i = 0; i < half; ++i) {
        cosines[i] = std::cos(position * frequencies_[i]);
        sines[i] = std::sin(position * frequencies_[i]);
      }
      for (const auto& x : {q, k})
        for (Index head = 0; head < x.cols(); head += head_dim_)
          rotate(&x(t, head), &x(t, head + half), cosines, sines, half);
    });
  }

 private:
  Index head_dim_;
  pare::Vector<float> frequencies_;
};

}  // namespace engine
