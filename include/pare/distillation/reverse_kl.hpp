#pragma once

#include "pare/distillation/response.hpp"

namespace pare {

namespace detail {

/// The term of a class in KL(q || p), with its gradient with respect to log q; without what either
/// side excludes.
[[nodiscard]] inline double reverse_kl_term(double q, double log_q, double, double log_p,
                                            double& h) noexcept {
  const bool is_left_out = is_excluded(log_q) || is_excluded(log_p);
  h = is_left_out ? 0.0 : q * (log_q - log_p + 1.0);
  return is_left_out ? 0.0 : q * (log_q - log_p);
}

}  // namespace detail

/// Reverse Kullback-Leibler divergence, which seeks the teacher's modes.
///
///     L_i = T^2 sum_j q_j log(q_j / p_j)
///
/// Errors    as kl_loss
/// Edge      a class that the teacher masks with -inf is left out of value and gradient. The sum
///           may be negative then, and does not push the student off that class. The gradient of
///           other tools is NaN there
/// Source    Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", 2023
template <class T = float>
double reverse_kl_loss(LossInput<T> student, LossInput<T> teacher,
                       const ResponseOptions& options = {}, LossGradient<T> gradient = {},
                       const Execution& execution = {}) {
  return detail::divergence_loss<T>(student, teacher, options, gradient, execution,
                                    detail::reverse_kl_term);
}

}  // namespace pare
