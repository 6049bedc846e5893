#pragma once

#include <algorithm>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// What is added to the diagonal of a Hessian so that it can be inverted.
struct DampingOptions {
  /// lambda as a share of the mean of the diagonal.
  double damping = 0.01;
  /// When the damped matrix is not positive definite: the next share is this many times the
  /// last, starting from at least `smallest_escalated`.
  double escalation = 10.0;
  double smallest_escalated = 1e-6;
};

namespace detail {

inline void require_damping(const DampingOptions& options) {
  if (!(options.damping >= 0.0) || !is_finite(options.damping))
    throw ArgumentError("damping " + std::to_string(options.damping) + " is not a share >= 0");
  if (!(options.escalation > 1.0) || !(options.smallest_escalated > 0.0))
    throw ArgumentError("damping must escalate by a factor above 1 from a share above 0");
}

/// Throws NumericError unless it is positive; 0 of nothing.
[[nodiscard]] inline double mean_of_diagonal(VectorView<const double> diagonal) {
  const Index n = diagonal.size();
  double mean = 0.0;
  for (Index i = 0; i < n; ++i)
    mean = rounded(mean + quotient(diagonal[i], static_cast<double>(n)));
  if (n > 0 && !(mean > 0.0))
    throw NumericError("the diagonal of the Hessian has no positive mean");
  return mean;
}

/// The share and the lambda that worked.
struct UsedDamping {
  double damping = 0.0, lambda = 0.0;
  int attempts = 0;
};

/// Calls f(lambda), with more and more damping, until it returns true: until the matrix is positive
/// definite. Throws NumericError when nothing helps.
template <class F>
[[nodiscard]] UsedDamping grow_damping(const DampingOptions& options, double mean, F f) {
  UsedDamping used{options.damping};
  for (;; used.damping = options.escalation * std::max(used.damping, options.smallest_escalated)) {
    used.lambda = rounded(used.damping * mean);
    if (!is_finite(used.lambda)) throw NumericError("no damping makes the Hessian definite");
    ++used.attempts;
    if (f(used.lambda)) return used;
  }
}

}  // namespace detail
}  // namespace pare
