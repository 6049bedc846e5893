#pragma once

#include "pare/distillation/kl.hpp"

namespace pare {

/// Cross entropy with the teacher's tempered softmax: kl_loss plus the teacher's entropy, with the
/// same gradient.
///
///     L_i = -T^2 sum_j p_j log(q_j)
///
/// Values    TextBrewer's has no factor T^2, TinyBERT's is a mean over classes too
///           (`.common = {.divisor = samples * classes}`)
/// Errors    as kl_loss
/// Edge      as kl_loss
/// Source    Hinton et al., 2015
template <class T = float>
double soft_cross_entropy_loss(LossInput<T> student, LossInput<T> teacher,
                               const ResponseOptions& options = {}, LossGradient<T> gradient = {},
                               const Execution& execution = {}) {
  return detail::divergence_loss<T>(student, teacher, options, gradient, execution,
                                    [](double q, double log_q, double p, double log_p, double& h) {
                                      const double kl =
                                          detail::forward_kl_term(q, log_q, p, log_p, h);
                                      return h == 0.0 ? 0.0 : kl - p * log_p;
                                    });
}

}  // namespace pare
