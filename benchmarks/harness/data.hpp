#pragma once

#include <cmath>

#include "harness/row.hpp"
#include "pare/core/tensor.hpp"

namespace bench {

struct LayerShape {
  pare::Index out, in;
};

/// Attention and the two directions of the feed-forward network of a model 4096 wide.
inline constexpr LayerShape layer_shapes[] = {{4096, 4096}, {11008, 4096}, {4096, 11008}};

/// Normally distributed, (out, in), standard deviation 0.02; kept to the end.
[[nodiscard]] const pare::Matrix<float>& random_weights(pare::Index out, pare::Index in);

/// Normally distributed, (tokens, in); kept to the end.
[[nodiscard]] const pare::Matrix<float>& random_activations(pare::Index tokens, pare::Index in);

/// Of y = x wᵀ, a multiplication and an addition each.
[[nodiscard]] inline double matmul_operations(const Row& row) {
  return 2.0 * static_cast<double>(row.out) * static_cast<double>(row.in) *
         static_cast<double>(row.tokens);
}

/// Root mean square of y - x wᵀ over that of x wᵀ, in double, for some of the outputs of the first
/// and the last token.
template <class T>
[[nodiscard]] double relative_error(const pare::Matrix<T>& x, const pare::Matrix<T>& w,
                                    const pare::Matrix<T>& y) {
  constexpr pare::Index step = 37;  // prime: every lane of a panel has its turn
  double errors = 0.0, squares = 0.0;
  for (const pare::Index token : {pare::Index{0}, x.rows() - 1})
    for (pare::Index i = 0; i < w.rows(); i += step) {
      double sum = 0.0;
      for (pare::Index k = 0; k < w.cols(); ++k)
        sum += static_cast<double>(x(token, k)) * static_cast<double>(w(i, k));
      const double error = static_cast<double>(y(token, i)) - sum;
      errors += error * error;
      squares += sum * sum;
    }
  return std::sqrt(errors / squares);
}

}  // namespace bench
