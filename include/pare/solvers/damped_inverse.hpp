#pragma once

#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/solvers/growing_damping.hpp"
#include "pare/solvers/symmetric_inverse.hpp"

namespace pare::detail {

/// Which inputs were always zero: their diagonal is.
[[nodiscard]] inline std::vector<char> dead_columns(MatrixView<const double> h) {
  std::vector<char> dead(static_cast<std::size_t>(h.rows()));
  for (Index j = 0; j < h.rows(); ++j) dead[static_cast<std::size_t>(j)] = h(j, j) == 0.0;
  return dead;
}

/// Of the diagonal. Throws as DampingOptions are refused, and mean_of_diagonal.
[[nodiscard]] inline double mean_diagonal(MatrixView<const double> h, double damping) {
  require_damping({.damping = damping});
  Vector<double> diagonal({h.rows()});
  for (Index j = 0; j < h.rows(); ++j) diagonal[j] = h(j, j);
  return mean_of_diagonal(diagonal);
}

struct DampedInverse {
  Matrix<double> inverse;
  UsedDamping used;
};

/// inverse(h + lambda I) in float64, with 1 on the diagonal for dead inputs.
[[nodiscard]] inline DampedInverse damped_inverse(MatrixView<const double> h,
                                                  const std::vector<char>& dead, double damping,
                                                  const Execution& execution) {
  const Index n = h.rows();
  DampedInverse result{Matrix<double>({n, n}), {}};
  result.used = grow_damping({.damping = damping}, mean_diagonal(h, damping), [&](double lambda) {
    const auto fill = [&](Index i, double* row) {
      for (Index j = i; j < n; ++j) row[j] = h(i, j);
      row[i] += dead[static_cast<std::size_t>(i)] ? 1.0 : lambda;
    };
    return symmetric_inverse_of<double>(fill, result.inverse, execution);
  });
  return result;
}

}  // namespace pare::detail
