#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/gemm.hpp"

namespace pare {

struct DampingOptions {
  /// lambda as a share of the mean of the diagonal.
  double damping = 0.01;
  /// When the damped matrix is not positive definite: the next share is this many times the
  /// last, starting from at least `smallest_escalated`.
  double escalation = 10.0;
  double smallest_escalated = 1e-6;
};

struct InverseFactor {
  /// U, upper triangular with a positive diagonal; zero below it.
  Matrix<float> upper;
  /// The share and the lambda that worked.
  double damping_used = 0.0;
  double lambda = 0.0;
  /// Factorizations tried; 1 when nothing escalated.
  int attempts = 0;
};

namespace detail {

/// Columns that are factored at once: large enough that nearly all work is matrix products.
inline constexpr Index factor_block = 128;

/// Replaces the upper half of a small `a` by inverse(R) for a = R Rᵀ, R upper triangular.
/// Returns false when a pivot is at most `tolerance` times the diagonal it came from.
inline bool invert_diagonal_block(MatrixView<double> a, const double* diagonal, double tolerance) {
  const Index n = a.rows();
  for (Index j = n; j-- > 0;) {
    double pivot = a(j, j);
    for (Index k = j + 1; k < n; ++k) pivot -= a(j, k) * a(j, k);
    if (!(pivot > tolerance * diagonal[j])) return false;
    const double root = a(j, j) = std::sqrt(pivot);
    for (Index i = 0; i < j; ++i) {
      double sum = a(i, j);
      for (Index k = j + 1; k < n; ++k) sum -= a(i, k) * a(j, k);
      a(i, j) = sum / root;
    }
  }
  // Column by column: what lies left of column j is inverted already.
  for (Index j = 0; j < n; ++j) {
    const double inverse = a(j, j) = 1.0 / a(j, j);
    for (Index i = 0; i < j; ++i) {
      double sum = 0.0;
      for (Index k = i; k < j; ++k) sum += a(i, k) * a(k, j);
      a(i, j) = -sum * inverse;
    }
  }
  return true;
}

/// Replaces the upper half of `a` by that of R, a = R Rᵀ, except that diagonal blocks become
/// inverse(R's diagonal block). Runs from the last block column to the first; each is brought up
/// to date by one product with the finished columns on its right. Returns false as above.
inline bool factor_from_last(MatrixView<double> a, const Vector<double>& diagonal,
                             const Execution& execution) {
  const Index n = a.rows();
  const double tolerance = static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  Matrix<double> copied({n, std::min(n, factor_block)});
  for (Index end = n; end > 0;) {
    const Index begin = (end - 1) / factor_block * factor_block, width = end - begin;
    const MatrixView<double> column = a.slice(1, begin, width).slice(0, 0, end);
    const MatrixView<const double> right = a.slice(1, end, n - end);
    gemm(-1.0, right.slice(0, 0, end), right.slice(0, begin, width).transposed(), column,
         execution);
    const MatrixView<double> pivot_block = column.slice(0, begin, width);
    if (!invert_diagonal_block(pivot_block, diagonal.data() + begin, tolerance)) return false;
    // The rest of the column times inverse(R)ᵀ. Below its diagonal the pivot block is not R's.
    for (Index i = 0; i < width; ++i)
      for (Index j = 0; j < i; ++j) pivot_block(i, j) = 0.0;
    const MatrixView<double> rest = column.slice(0, 0, begin);
    const MatrixView<double> source = copied.view().slice(0, 0, begin).slice(1, 0, width);
    copy(rest, source);
    for (Index i = 0; i < begin; ++i) std::fill_n(&rest(i, 0), width, 0.0);
    gemm(1.0, source, pivot_block.transposed(), rest, execution);
    end = begin;
  }
  return true;
}

/// Block row `begin` of inverse(R) into `upper`, from what factor_from_last leaves: block by
/// block, U_ij = -(sum over i <= k < j of U_ik R_kj) inverse(R_jj).
inline void invert_block_row(MatrixView<const double> r, Index begin, MatrixView<float> upper,
                             KernelName force) {
  const Index n = r.rows(), height = std::min(factor_block, n - begin);
  Matrix<double> row({height, n - begin}), sum({height, factor_block});
  copy(r.slice(0, begin, height).slice(1, begin, height), row.view().slice(1, 0, height));
  const Execution serial{.force = force};
  for (Index j = begin + height; j < n; j += factor_block) {
    const Index width = std::min(factor_block, n - j);
    const MatrixView<double> target = sum.view().slice(1, 0, width);
    sum.fill(0.0);
    gemm(-1.0, row.view().slice(1, 0, j - begin), r.slice(0, begin, j - begin).slice(1, j, width),
         target, serial);
    gemm(1.0, target, r.slice(0, j, width).slice(1, j, width),
         row.view().slice(1, j - begin, width), serial);
  }
  for (Index i = 0; i < height; ++i)
    for (Index j = i; j < n - begin; ++j) {
      if (!(std::fabs(row(i, j)) <= std::numeric_limits<float>::max()))
        throw NumericError("the inverse factor overflows float32 at [" + std::to_string(begin + i) +
                           ", " + std::to_string(begin + j) + "]");
      upper(begin + i, begin + j) = static_cast<float>(row(i, j));
    }
}

/// An order of [0, n) in which neighbours are far apart: step i visits i * stride mod n.
[[nodiscard]] inline Index scattering_stride(Index n) {
  Index stride = std::max<Index>(1, static_cast<Index>(0.618 * static_cast<double>(n)));
  while (std::gcd(stride, n) != 1) ++stride;
  return stride;
}

}  // namespace detail

/// The triangular factor of a damped inverse that GPTQ and SparseGPT sweep with.
///
///     inverse(h + lambda I) = Uᵀ U,      lambda = damping * mean(diag h)
///
/// Nothing is inverted twice: h + lambda I = R Rᵀ with R upper triangular is a Cholesky
/// factorization run from the last row backwards, and U = inverse(R).
///
/// Shapes    h (n, n) symmetric; only its upper half is read
/// Errors    ShapeError when h is not square; NumericError when an element is not finite, the
///           mean of the diagonal is not positive, or U overflows float32; ArgumentError for a
///           negative damping or an escalation that does not grow
/// Edge      a matrix that is not positive definite to working accuracy (a pivot of at most
///           n epsilon times its diagonal) is damped more until it is; n = 0 gives an empty U
/// Accuracy  float64, rounded to float32 once
/// Cost      2/3 n^3 operations; scratch of n^2 doubles
/// Order     independent of the number of threads
/// Source    Frantar et al., "GPTQ", 2022, Algorithm 1. Departs: one factorization instead of
///           a Cholesky, an inverse and another Cholesky
[[nodiscard]] inline InverseFactor inverse_factor(MatrixView<const double> h,
                                                  const DampingOptions& options = {},
                                                  const Execution& execution = {}) {
  const Index n = h.rows();
  if (h.cols() != n) throw ShapeError("a Hessian is square, not " + to_string(h.shape()));
  if (!(options.damping >= 0.0) || !std::isfinite(options.damping))
    throw ArgumentError("damping " + std::to_string(options.damping) + " is not a share >= 0");
  if (!(options.escalation > 1.0) || !(options.smallest_escalated > 0.0))
    throw ArgumentError("damping must escalate by a factor above 1 from a share above 0");
  require_finite_upper(h, "the Hessian");
  InverseFactor result{Matrix<float>({n, n})};
  result.damping_used = options.damping;
  if (n == 0) return result;
  double mean = 0.0;
  for (Index i = 0; i < n; ++i) mean += h(i, i) / static_cast<double>(n);
  if (!(mean > 0.0)) throw NumericError("the diagonal of the Hessian has no positive mean");

  Matrix<double> r({n, n});
  Vector<double> damped({n});
  for (bool factored = false; !factored;) {
    if (result.attempts > 0)
      result.damping_used =
          options.escalation * std::max(result.damping_used, options.smallest_escalated);
    result.lambda = result.damping_used * mean;
    if (!std::isfinite(result.lambda)) throw NumericError("no damping makes the Hessian definite");
    ++result.attempts;
    for (Index i = 0; i < n; ++i) {
      for (Index j = i; j < n; ++j) r(i, j) = h(i, j);
      r(i, i) = damped[i] = h(i, i) + result.lambda;
    }
    factored = detail::factor_from_last(r, damped, execution);
  }
  const Index rows = ceil_div(n, detail::factor_block);
  const Index stride = detail::scattering_stride(rows);
  // Upper rows are longer: scattered, every contiguous share of the iterations costs the same.
  execution.parallel_for(rows, [&](Index i) {
    detail::invert_block_row(r, i * stride % rows * detail::factor_block, result.upper,
                             execution.force);
  });
  return result;
}

}  // namespace pare
