#pragma once

#include <cmath>

#include "engine/elementwise.hpp"
#include "engine/rope_parameters.hpp"
#include "engine/scratch_matrix.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace engine {

/// Rotary position embedding: see RopeParameters.
class Rope {
 public:
  Rope(Index head_dim, const RopeParameters& parameters)
      : head_dim_(head_dim), parameters_(parameters) {
    if (!parameters_.depend_on_length()) frequencies_ = parameters_.frequencies(0);
  }

  /// Rotates every head of q and k (tokens, heads * head_dim) in place; row t is at
  /// `first + t % period`. Keys keep the rotation that they get, whatever follows.
  void apply(pare::MatrixView<float> q, pare::MatrixView<float> k, Index first, Index period,
             const pare::Execution& execution) const {
    pare::Vector<float> of_length;
    if (parameters_.depend_on_length()) of_length = parameters_.frequencies(first + period);
    const float* const frequencies =
        parameters_.depend_on_length() ? of_length.data() : frequencies_.data();
    const Index half = parameters_.rotated / 2;
    const float magnitude = parameters_.magnitude;
    const ScratchMatrix angles(execution, q.rows(), 2 * half);  // cosines, then sines
    execution.parallel_for(q.rows(), [&](Index t) {
      float* const cosines = &angles.view()(t, 0);
      float* const sines = cosines + half;
      const float position = static_cast<float>(first + t % period);
      for (Index i = 0; i < half; ++i) {
        cosines[i] = magnitude * std::cos(position * frequencies[i]);
        sines[i] = magnitude * std::sin(position * frequencies[i]);
      }
      for (const auto& x : {q, k})
        for (Index head = 0; head < x.cols(); head += head_dim_)
          if (parameters_.neighbours)
            rotate_neighbours(&x(t, head), cosines, sines, half);
          else
            rotate(&x(t, head), &x(t, head + half), cosines, sines, half);
    });
  }

 private:
  Index head_dim_;
  RopeParameters parameters_;
  pare::Vector<float> frequencies_;
};

}  // namespace engine
