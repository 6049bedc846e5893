#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "support/random_matrix.hpp"

namespace pare::test {

/// tr((w - q) H (w - q)ᵀ) in double.
[[nodiscard]] inline double hessian_loss(MatrixView<const float> w, MatrixView<const float> q,
                                         MatrixView<const double> h) {
  double loss = 0.0;
  std::vector<double> d(static_cast<std::size_t>(w.cols()));
  for (Index i = 0; i < w.rows(); ++i) {
    for (Index j = 0; j < w.cols(); ++j)
      d[static_cast<std::size_t>(j)] = static_cast<double>(w(i, j)) - static_cast<double>(q(i, j));
    for (Index j = 0; j < w.cols(); ++j) {
      double sum = 0.0;
      for (Index k = 0; k < w.cols(); ++k) sum += h(j, k) * d[static_cast<std::size_t>(k)];
      loss += d[static_cast<std::size_t>(j)] * sum;
    }
  }
  return loss;
}

/// A layer whose inputs are correlated and of different sizes, as real ones are; those of `dead`
/// are zero.
struct CorrelatedLayer {
  Matrix<float> w, x;
  Hessian h;

  CorrelatedLayer(Index rows, Index inputs, Index tokens = 200, Index sources = 24,
                  const std::vector<Index>& dead = {})
      : w(random_matrix(rows, inputs, 1)), x(random_matrix(tokens, inputs, 2)), h(inputs) {
    const Matrix<float> common = random_matrix(tokens, sources, 3),
                        mixing = random_matrix(sources, inputs, 4);
    for (Index t = 0; t < tokens; ++t)
      for (Index j = 0; j < inputs; ++j) {
        for (Index s = 0; s < sources; ++s) x(t, j) += 0.5f * common(t, s) * mixing(s, j);
        x(t, j) *= std::exp2(static_cast<float>(j % 7) - 3.0f);
        if (std::find(dead.begin(), dead.end(), j) != dead.end()) x(t, j) = 0.0f;
      }
    h.add(x);
  }
};

}  // namespace pare::test
