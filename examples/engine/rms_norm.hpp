#pragma once

#include "engine/elementwise.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace engine {

/// y = x / sqrt(mean(x^2) + eps) * weight, row by row: x and y (tokens, features).
inline void rms_norm(pare::MatrixView<const float> x, pare::VectorView<const float> weight,
                     float eps, pare::MatrixView<float> y, const pare::Execution& execution) {
  execution.parallel_for(
      x.rows(), [&](Index t) { rms_norm_row(&x(t, 0), weight.data(), x.cols(), eps, &y(t, 0)); });
}

}  // namespace engine
