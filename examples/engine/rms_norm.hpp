#pragma once

#include <cmath>

#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace engine {

/// y = x / sqrt(mean(x^2) + eps) * weight, row by row: x and y (tokens, features).
inline void rms_norm(pare::MatrixView<const float> x, pare::VectorView<const float> weight,
                     float eps, pare::MatrixView<float> y, const pare::Execution& execution) {
  const pare::Index features = x.cols();
  execution.parallel_for(x.rows(), [&](pare::Index t) {
    double squares = 0.0;
    for (pare::Index c = 0; c < features; ++c)
      squares += static_cast<double>(x(t, c)) * static_cast<double>(x(t, c));
    const float inverse =
        1.0f / std::sqrt(static_cast<float>(squares / static_cast<double>(features)) + eps);
    for (pare::Index c = 0; c < features; ++c) y(t, c) = x(t, c) * inverse * weight[c];
  });
}

}  // namespace engine
