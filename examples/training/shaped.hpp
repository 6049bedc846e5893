#pragma once

#include "pare/core/tensor.hpp"
#include "training/dual.hpp"

namespace training {

using pare::Index;

/// Makes `m` a matrix of this shape, and zeroes it where asked to.
template <Scalar S>
pare::MatrixView<S> shaped(pare::Matrix<S>& m, Index rows, Index cols, bool zero = false) {
  if (m.shape() != pare::Shape<2>{rows, cols})
    m = pare::Matrix<S>({rows, cols});
  else if (zero)
    m.fill(S{});
  return m;
}

}  // namespace training
