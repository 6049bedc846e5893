#pragma once

#include "pare/distillation/kl.hpp"
#include "pare/distillation/reverse_kl.hpp"

namespace pare {

struct SymmetricKlOptions {
  /// The share of the reverse divergence, in [0, 1].
  double reverse = 0.5;
  ResponseOptions response{};
};

/// A mix of both directions.
///
///     L = (1 - reverse) KL(p || q) + reverse KL(q || p)
///
/// Errors    as kl_loss; ArgumentError for a share outside [0, 1]
/// Source    DistiLLM's baseline has a share of 0.9
template <class T = float>
double symmetric_kl_loss(LossInput<T> student, LossInput<T> teacher,
                         const SymmetricKlOptions& options = {}, LossGradient<T> gradient = {},
                         const Execution& execution = {}) {
  detail::require_loss_share(options.reverse, "share of the reverse divergence");
  return detail::divergence_loss<T>(
      student, teacher, options.response, gradient, execution,
      [reverse = options.reverse](double q, double log_q, double p, double log_p, double& h) {
        double backward = 0.0;
        const double value = (1.0 - reverse) * detail::forward_kl_term(q, log_q, p, log_p, h) +
                             reverse * detail::reverse_kl_term(q, log_q, p, log_p, backward);
        h = (1.0 - reverse) * h + reverse * backward;
        return value;
      });
}

}  // namespace pare
