#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/core/scratch.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/solvers/growing_damping.hpp"

namespace pare {

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

/// Replaces the upper half of a small `a` by inverse(R) for a = R Rᵀ, R upper triangular, and the
/// rest by zeros. Returns false when a pivot is at most `tolerance` times the diagonal it came
/// from. Every step is rounded: the bits do not depend on what the compiler fuses.
inline bool invert_factor_of_small(MatrixView<double> a, const double* diagonal, double tolerance) {
  const Index n = a.rows();
  for (Index j = n; j-- > 0;) {
    double pivot = a(j, j);
    for (Index k = j + 1; k < n; ++k) pivot = rounded(pivot - rounded(a(j, k) * a(j, k)));
    if (!(pivot > tolerance * diagonal[j])) return false;
    const double root = a(j, j) = std::sqrt(pivot);
    for (Index i = 0; i < j; ++i) {
      double sum = a(i, j);
      for (Index k = j + 1; k < n; ++k) sum = rounded(sum - rounded(a(i, k) * a(j, k)));
      a(i, j) = quotient(sum, root);
    }
  }
  // Column by column: what lies left of column j is inverted already.
  for (Index j = 0; j < n; ++j) {
    const double inverse = a(j, j) = quotient(1.0, a(j, j));
    for (Index i = 0; i < j; ++i) {
      double sum = 0.0;
      for (Index k = i; k < j; ++k) sum = rounded(sum + rounded(a(i, k) * a(k, j)));
      a(i, j) = -sum * inverse;
    }
    for (Index i = j + 1; i < n; ++i) a(i, j) = 0.0;
  }
  return true;
}

/// inverse_factor of blocks, by halves: nearly all work is products of large matrices.
class FactorInverter {
 public:
  FactorInverter(Index n, double tolerance, const Execution& execution)
      : kernel_(kernels::select_gemm_kernel<double>(execution.force)),
        parallel_for_(execution.parallel_for),
        tolerance_(tolerance),
        memory_(execution.workspace, kernels::Scratch::bytes<double>(half_size(n))),
        scratch_(memory_.take<double>(half_size(n))) {}

  /// Replaces the upper half of `a` by inverse(R), a = R Rᵀ, and the rest by zeros.
  ///
  ///     R = (R1 S; 0 R2),  S = A12 inverse(R2)ᵀ,  R1 R1ᵀ = A11 - S Sᵀ
  ///     inverse(R) = (inverse(R1), -inverse(R1) S inverse(R2); 0, inverse(R2))
  ///
  /// Returns false when a pivot is at most the tolerance times the diagonal it came from.
  bool invert(MatrixView<double> a, const double* diagonal) {
    const Index n = a.rows(), first = first_half(n), second = n - first;
    if (n <= smallest) return invert_factor_of_small(a, diagonal, tolerance_);
    const MatrixView<double> a11 = a.slice(0, 0, first).slice(1, 0, first);
    const MatrixView<double> a12 = a.slice(0, 0, first).slice(1, first, second);
    const MatrixView<double> a21 = a.slice(0, first, second).slice(1, 0, first);
    const MatrixView<double> a22 = a.slice(0, first, second).slice(1, first, second);
    if (!invert(a22, diagonal + first)) return false;
    const MatrixView<double> s(scratch_, a12.shape());
    zero(s);
    add_product(1.0, a12, MatrixView<const double>(a22).transposed(), s, {.b_lower = true});
    add_product(-1.0, s, MatrixView<const double>(s).transposed(), a11, {.c_upper = true});
    zero(a12);
    add_product(1.0, s, a22, a12, {.b_upper = true});
    if (!invert(a11, diagonal)) return false;
    const MatrixView<double> product(scratch_, a12.shape());
    move_out(a12, product);
    add_product(-1.0, a11, product, a12, {.a_upper = true});
    zero(a21);
    return true;
  }

 private:
  static constexpr Index smallest = 64;

  /// Elements of the largest half by half block.
  [[nodiscard]] static Index half_size(Index n) noexcept { return n * n / 4 + 1; }

  /// A multiple of the blocks of a product where that is possible: cut elsewhere, triangles leave
  /// them half empty.
  [[nodiscard]] static Index first_half(Index n) noexcept {
    const Index unit = n > 2 * kernels::gemm_block_cols ? kernels::gemm_block_cols : smallest;
    return std::min(n, round_up(n / 2, unit));
  }

  void add_product(double alpha, MatrixView<const double> a, MatrixView<const double> b,
                   MatrixView<double> c, const kernels::GemmParts& parts) const {
    kernels::gemm_blocks(kernel_, alpha, a, b, c, parts, parallel_for_);
  }
  /// Large enough shares that threads pay.
  template <class Body>
  void for_rows(MatrixView<double> a, Body body) const {
    const Index rows = std::max<Index>(1, parallel_grain / std::max<Index>(1, a.cols()) / 8);
    parallel_for_(ceil_div(a.rows(), rows), [&](Index share) {
      for (Index i = share * rows; i < std::min(a.rows(), (share + 1) * rows); ++i) body(i);
    });
  }
  void zero(MatrixView<double> a) const {
    for_rows(a, [&](Index i) { std::fill_n(&a(i, 0), a.cols(), 0.0); });
  }
  void move_out(MatrixView<double> from, MatrixView<double> to) const {
    for_rows(from, [&](Index i) {
      std::copy_n(&from(i, 0), from.cols(), &to(i, 0));
      std::fill_n(&from(i, 0), from.cols(), 0.0);
    });
  }

  kernels::GemmKernel<double> kernel_;
  ParallelFor parallel_for_;
  double tolerance_;
  kernels::Scratch memory_;
  double* scratch_;  ///< holds every (half, half) there is
};

/// The upper half of `u` in float32. Throws NumericError naming an element that overflows.
inline void narrow_upper(MatrixView<const double> u, MatrixView<float> narrowed,
                         const ParallelFor& parallel_for) {
  constexpr auto largest = static_cast<double>(std::numeric_limits<float>::max());
  const Index n = u.rows(), stride = kernels::scattering_stride(std::max<Index>(n, 1));
  parallel_for(n, [&](Index step) {
    const Index i = step * stride % n;
    for (Index j = i; j < n; ++j) {
      const auto magnitude = std::bit_cast<std::uint64_t>(u(i, j)) & 0x7fffffffffffffffu;
      if (magnitude > std::bit_cast<std::uint64_t>(largest))
        throw NumericError("the inverse factor overflows float32 at [" + std::to_string(i) + ", " +
                           std::to_string(j) + "]");
      narrowed(i, j) = static_cast<float>(u(i, j));
    }
  });
}

/// inverse_factor of a matrix that is finite and given row by row: `fill(i, row)` writes its
/// elements (i, j) for j >= i to row[j].
template <class Fill>
[[nodiscard]] InverseFactor inverse_factor_of(VectorView<const double> diagonal, Fill fill,
                                              const DampingOptions& options,
                                              const Execution& execution) {
  require_damping(options);
  const Index n = diagonal.size();
  InverseFactor result{Matrix<float>({n, n})};
  result.damping_used = options.damping;
  if (n == 0) return result;
  const double mean = mean_of_diagonal(diagonal);

  kernels::Scratch memory(execution.workspace, kernels::Scratch::bytes<double>(n * n));
  const MatrixView<double> u(memory.take<double>(n * n), {n, n});
  Vector<double> damped({n});
  FactorInverter inverter(n, static_cast<double>(n) * std::numeric_limits<double>::epsilon(),
                          execution);
  const UsedDamping used = grow_damping(options, mean, [&](double lambda) {
    execution.parallel_for(n, [&](Index i) {
      fill(i, &u(i, 0));
      u(i, i) = damped[i] = diagonal[i] + lambda;
    });
    return inverter.invert(u, damped.data());
  });
  result.damping_used = used.damping;
  result.lambda = used.lambda;
  result.attempts = used.attempts;
  narrow_upper(u, result.upper, execution.parallel_for);
  return result;
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
  require_finite_upper(h, "the Hessian");
  Vector<double> diagonal({n});
  for (Index i = 0; i < n; ++i) diagonal[i] = h(i, i);
  return detail::inverse_factor_of(
      diagonal.view(),
      [&](Index i, double* row) {
        for (Index j = i; j < n; ++j) row[j] = h(i, j);
      },
      options, execution);
}

}  // namespace pare
