#pragma once

#include <cmath>

#include "pare/distillation/kl.hpp"
#include "pare/distillation/reverse_kl.hpp"

namespace pare {

struct JensenShannonOptions {
  /// The share of the teacher in the mixture and of its divergence, in [0, 1]: as `beta` in TRL.
  /// DistiLLM's `lam` is 1 - beta.
  double beta = 0.5;
  ResponseOptions response{};
};

/// Generalised Jensen-Shannon divergence.
///
///     L_i = T^2 (beta KL(p || m) + (1 - beta) KL(q || m)),   m = beta p + (1 - beta) q
///
/// Values    at most log 2 (times T^2). beta 0 is kl_loss and beta 1 reverse_kl_loss, as in TRL,
///           although the formula goes to 0 there
/// Errors    as kl_loss; ArgumentError for a beta outside [0, 1]
/// Edge      finite also where one side masks a class
/// Source    Agarwal et al., "On-Policy Distillation of Language Models" (GKD), 2023, whose
///           temperature is 1 in the loss; TRL has no factor T^2
template <class T = float>
double jensen_shannon_loss(LossInput<T> student, LossInput<T> teacher,
                           const JensenShannonOptions& options = {}, LossGradient<T> gradient = {},
                           const Execution& execution = {}) {
  const double beta = options.beta;
  detail::require_loss_share(beta, "beta of a Jensen-Shannon divergence");
  if (beta == 0.0) return kl_loss<T>(student, teacher, options.response, gradient, execution);
  if (beta == 1.0)
    return reverse_kl_loss<T>(student, teacher, options.response, gradient, execution);
  const double log_beta = std::log(beta), log_rest = std::log1p(-beta);
  return detail::divergence_loss<T>(
      student, teacher, options.response, gradient, execution,
      [=](double q, double log_q, double p, double log_p, double& h) {
        const double log_m = detail::log_sum_exp(log_p + log_beta, log_q + log_rest);
        const double from_student = detail::product_or_zero(q, log_q - log_m);
        h = (1.0 - beta) * from_student;
        return beta * detail::product_or_zero(p, log_p - log_m) + (1.0 - beta) * from_student;
      });
}

}  // namespace pare
