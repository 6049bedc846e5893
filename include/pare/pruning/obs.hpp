#pragma once

#include <span>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/solvers/symmetric_inverse.hpp"

/// The optimal brain surgeon on a vector of weights and the inverse of its Hessian in float64: what
/// OBC, SparseGPT and WoodFisher approximate.
namespace pare {

namespace detail {

inline void require_inverse_of(MatrixView<const double> inverse, Index weights) {
  if (inverse.rows() != weights || inverse.cols() != weights)
    throw ShapeError("an inverse Hessian of shape " + to_string(inverse.shape()) +
                     " does not fit " + std::to_string(weights) + " weights");
}

/// Throws NumericError unless inverse(q, q) > 0.
[[nodiscard]] inline double pivot_of(MatrixView<const double> inverse, Index q) {
  if (!(inverse(q, q) > 0.0))
    throw NumericError("the inverse Hessian has " + std::to_string(inverse(q, q)) +
                       " on its diagonal at " + std::to_string(q));
  return inverse(q, q);
}

}  // namespace detail

/// What the loss grows by when a weight is removed and the others make up for it:
/// w_q^2 / (2 [H^-1]_qq).
///
/// Shapes    w (n), inverse H^-1 (n, n)
/// Errors    ShapeError; NumericError for a diagonal that is not positive
/// Source    Hassibi and Stork, "Optimal Brain Surgeon", 1993
[[nodiscard]] inline Vector<double> obs_costs(VectorView<const double> w,
                                              MatrixView<const double> inverse) {
  detail::require_inverse_of(inverse, w.size());
  Vector<double> costs({w.size()});
  for (Index q = 0; q < w.size(); ++q)
    costs[q] = w[q] * w[q] / (2.0 * detail::pivot_of(inverse, q));
  return costs;
}

struct ObsRemoval {
  Vector<double> weight;  ///< (n), zero where it was removed
  double cost = 0.0;      ///< what the loss grows by
};

/// Removes weights together; the others move to where the loss grows least.
///
///     dw = -H^-1[:, Q] ([H^-1]_QQ)^-1 w_Q,  cost = w_Qᵀ ([H^-1]_QQ)^-1 w_Q / 2
///
/// Shapes    w (n), inverse H^-1 (n, n) symmetric; removed: different indices, any order
/// Errors    ShapeError; ArgumentError for an index outside or twice; NumericError when [H^-1]_QQ
///           is not positive definite
/// Accuracy  float64; what is removed is exactly 0
/// Source    Hassibi and Stork, "Optimal Brain Surgeon", 1993; for sets: Kurtic et al., "The
///           Optimal BERT Surgeon", 2022
[[nodiscard]] inline ObsRemoval obs_remove(VectorView<const double> w,
                                           MatrixView<const double> inverse,
                                           std::span<const Index> removed) {
  const Index n = w.size(), k = std::ssize(removed);
  detail::require_inverse_of(inverse, n);
  std::vector<char> is_removed(static_cast<std::size_t>(n));
  for (const Index q : removed) {
    if (q < 0 || q >= n || is_removed[static_cast<std::size_t>(q)])
      throw ArgumentError("weight " + std::to_string(q) + " of " + std::to_string(n) +
                          " cannot be removed, or not twice");
    is_removed[static_cast<std::size_t>(q)] = 1;
  }
  ObsRemoval result{Vector<double>(w)};
  if (k == 0) return result;
  const auto at = [&](Index p) { return removed[static_cast<std::size_t>(p)]; };
  Matrix<double> u({k, k}), multipliers({1, k});
  const auto fill = [&](Index i, double* row) {
    for (Index j = i; j < k; ++j) row[j] = inverse(at(i), at(j));
  };
  if (!detail::inverse_factor_in_place(fill, u, {}))
    throw NumericError("the inverse Hessian of the removed weights is not positive definite");
  for (Index p = 0; p < k; ++p) multipliers(0, p) = w[at(p)];
  detail::apply_inverse(u, multipliers, {});
  for (Index p = 0; p < k; ++p) {
    result.cost += 0.5 * w[at(p)] * multipliers(0, p);
    for (Index j = 0; j < n; ++j) result.weight[j] -= inverse(j, at(p)) * multipliers(0, p);
  }
  for (const Index q : removed) result.weight[q] = 0.0;
  return result;
}

/// The inverse Hessian of the weights but one, whose row and column become 0:
///
///     H^-1 -= H^-1[:, q] H^-1[q, :] / [H^-1]_qq
///
/// Shapes    inverse (n, n) symmetric, changed in place
/// Errors    ShapeError when it is not square; ArgumentError for an index outside; NumericError for
///           a diagonal that is not positive
/// Source    Frantar and Alistarh, "Optimal Brain Compression", 2022, Lemma 1
inline void obs_eliminate(MatrixView<double> inverse, Index q) {
  const Index n = inverse.rows();
  detail::require_inverse_of(inverse, n);
  if (q < 0 || q >= n)
    throw ArgumentError("there is no weight " + std::to_string(q) + " of " + std::to_string(n));
  const double pivot = detail::pivot_of(inverse, q);
  std::vector<double> row(static_cast<std::size_t>(n));
  for (Index j = 0; j < n; ++j) row[static_cast<std::size_t>(j)] = inverse(q, j);
  for (Index i = 0; i < n; ++i) {
    const double factor = row[static_cast<std::size_t>(i)] / pivot;
    for (Index j = 0; j < n; ++j) inverse(i, j) -= factor * row[static_cast<std::size_t>(j)];
  }
  for (Index j = 0; j < n; ++j) inverse(q, j) = inverse(j, q) = 0.0;
}

}  // namespace pare
