#pragma once

#include <cmath>

#include "pare/distillation/response.hpp"

namespace pare {

/// Total variation distance of tempered softmaxes.
///
///     L_i = T^2 / 2 sum_j |p_j - q_j|
///
/// Values    from 0 to 1, times T^2
/// Errors    as kl_loss
/// Edge      where p_j = q_j the subgradient 0
/// Source    Wen et al., "f-Divergence Minimization for Sequence-Level Knowledge Distillation",
///           2023
template <class T = float>
double total_variation_loss(LossInput<T> student, LossInput<T> teacher,
                            const ResponseOptions& options = {}, LossGradient<T> gradient = {},
                            const Execution& execution = {}) {
  return detail::divergence_loss<T>(student, teacher, options, gradient, execution,
                                    [](double q, double, double p, double, double& h) {
                                      h = q > p ? 0.5 * q : q < p ? -0.5 * q : 0.0;
                                      return 0.5 * std::fabs(p - q);
                                    });
}

}  // namespace pare
