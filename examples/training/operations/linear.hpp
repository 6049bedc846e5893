#pragma once

#include "training/operations/product.hpp"

namespace training {

/// y = x Wᵀ + b
///
/// Shapes    x (tokens, in), w (out, in), bias (1, out) or empty, y (tokens, out), replaced
template <Scalar S>
void linear(pare::MatrixView<const S> x, pare::MatrixView<const S> w,
            pare::MatrixView<const S> bias, pare::MatrixView<S> y,
            const pare::Execution& execution) {
  execution.parallel_for(y.rows(), [&](Index t) {
    for (Index j = 0; j < y.cols(); ++j) y(t, j) = bias.empty() ? S{0} : bias(0, j);
  });
  add_product<S>(1.0, x, w.transposed(), y, execution);
}

/// dW += dyᵀ x, db += the sum over tokens of dy, dx += dy W; of these an empty view is left out.
template <Scalar S>
void linear_backward(pare::MatrixView<const S> dy, pare::MatrixView<const S> x,
                     pare::MatrixView<const S> w, pare::MatrixView<S> dw, pare::MatrixView<S> dbias,
                     pare::MatrixView<S> dx, const pare::Execution& execution) {
  if (!dw.empty()) add_product<S>(1.0, dy.transposed(), x, dw, execution);
  if (!dbias.empty()) add_column_sums<S>(dy, dbias, execution);
  if (!dx.empty()) add_product<S>(1.0, dy, w, dx, execution);
}

}  // namespace training
