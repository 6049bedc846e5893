#pragma once

#include <algorithm>
#include <limits>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/scratch.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/kernels/gram.hpp"
#include "pare/solvers/inverse_factor.hpp"

namespace pare {
namespace detail {

/// u, of any contents, becomes upper triangular U with inverse(a) = Uᵀ U; `fill(i, row)` writes
/// a(i, j) for j >= i to row[j]. Returns false when a is not positive definite to working accuracy.
template <class Fill>
[[nodiscard]] bool inverse_factor_in_place(Fill fill, MatrixView<double> u,
                                           const Execution& execution) {
  const Index n = u.rows();
  Vector<double> diagonal({n});
  execution.parallel_for(n, [&](Index i) {
    fill(i, &u(i, 0));
    diagonal[i] = u(i, i);
  });
  FactorInverter inverter(n, static_cast<double>(n) * std::numeric_limits<double>::epsilon(),
                          execution);
  return inverter.invert(u, diagonal.data());
}

/// The rows of x become those of x inverse(a), inverse(a) = uᵀ u.
inline void apply_inverse(MatrixView<const double> u, Matrix<double>& x,
                          const Execution& execution) {
  Matrix<double> halfway(x.shape());
  gemm(1.0, x, u.transposed(), halfway, execution);
  x.fill(0.0);
  gemm(1.0, halfway, u, x, execution);
}

/// product = uᵀ u, both halves, for an upper triangular u.
template <class T>
void square_upper(MatrixView<const T> u, MatrixView<T> product, const Execution& execution) {
  execution.parallel_for(u.rows(),
                         [&](Index i) { std::fill_n(&product(i, 0), product.cols(), T(0)); });
  if (u.empty()) return;
  kernels::gemm_blocks(kernels::select_gemm_kernel<T>(execution.force), T(1), u.transposed(), u,
                       product, {.a_lower = true, .b_upper = true, .c_upper = true},
                       execution.parallel_for);
  mirror_upper<T>(product, execution);
}

/// The inverse of a symmetric matrix that is given row by row, as in inverse_factor_in_place:
/// factored in float64, multiplied out in T. Returns false, with unspecified contents, when it is
/// not positive definite to working accuracy.
template <class T, class Fill>
[[nodiscard]] bool symmetric_inverse_of(Fill fill, MatrixView<T> inverse,
                                        const Execution& execution) {
  const Index n = inverse.rows();
  const bool narrows = std::is_same_v<T, float>;
  kernels::Scratch memory(execution.workspace, kernels::Scratch::bytes<double>(n * n) +
                                                   kernels::Scratch::bytes<T>(narrows ? n * n : 0));
  const MatrixView<double> u(memory.take<double>(n * n), {n, n});
  if (!inverse_factor_in_place(fill, u, execution)) return false;
  if constexpr (narrows) {
    const MatrixView<T> narrow(memory.take<T>(n * n), {n, n});
    execution.parallel_for(n, [&](Index i) { std::fill_n(&narrow(i, 0), i, T(0)); });
    narrow_upper(u, narrow, execution.parallel_for);
    square_upper<T>(narrow, inverse, execution);
  } else {
    square_upper<T>(u, inverse, execution);
  }
  return true;
}

}  // namespace detail

/// The inverse of a symmetric positive definite matrix, both halves of it.
///
/// Shapes    a (n, n), of which only the upper half is read
/// Errors    ShapeError when a is not square; NumericError when an element is not finite or a is
///           not positive definite to working accuracy
/// Accuracy  float64
/// Cost      n^3 operations; scratch of n^2 doubles
/// Order     independent of the number of threads
[[nodiscard]] inline Matrix<double> symmetric_inverse(MatrixView<const double> a,
                                                      const Execution& execution = {}) {
  const Index n = a.rows();
  if (a.cols() != n)
    throw ShapeError("only a square matrix has an inverse, not " + to_string(a.shape()));
  require_finite_upper(a, "the matrix to invert");
  Matrix<double> inverse({n, n});
  const auto fill = [&](Index i, double* row) {
    for (Index j = i; j < n; ++j) row[j] = a(i, j);
  };
  if (!detail::symmetric_inverse_of<double>(fill, inverse, execution))
    throw NumericError("the matrix to invert is not positive definite");
  return inverse;
}

}  // namespace pare
