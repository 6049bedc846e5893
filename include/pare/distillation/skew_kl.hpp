#pragma once

#include <cmath>

#include "pare/distillation/response.hpp"

namespace pare {

struct SkewKlOptions {
  /// How much of the first distribution is mixed into the second, in [0, 1].
  double skew = 0.1;
  ResponseOptions response{};
};

namespace detail {

/// The logarithms of a share and of the rest: -inf for 0.
struct LogShares {
  explicit LogShares(double share)
      : of(share > 0.0 ? std::log(share) : minus_infinity),
        rest(share < 1.0 ? std::log1p(-share) : minus_infinity) {}
  double of, rest;
};

}  // namespace detail

/// Skew divergence from the teacher: the student never has to explain all of it alone.
///
///     L_i = T^2 KL(p || m),   m = skew p + (1 - skew) q
///
/// Values    from 0 to -log(skew), times T^2. The authors' value lacks the teacher's entropy, its
///           gradient is the same
/// Errors    as kl_loss; ArgumentError for a skew outside [0, 1]
/// Edge      with a positive skew finite where the student masks a class; without it such a class
///           is left out
/// Source    Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models",
///           2024
template <class T = float>
double skew_kl_loss(LossInput<T> student, LossInput<T> teacher, const SkewKlOptions& options = {},
                    LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_share(options.skew, "skew");
  const detail::LogShares share(options.skew);
  return detail::divergence_loss<T>(
      student, teacher, options.response, gradient, execution,
      [share](double, double log_q, double p, double log_p, double& h) {
        const double log_m = detail::log_sum_exp(share.of + log_p, share.rest + log_q);
        if (p == 0.0 || detail::is_excluded(log_m)) return 0.0;
        h = -p * std::exp(share.rest + log_q - log_m);
        return p * (log_p - log_m);
      });
}

/// Skew divergence from the student.
///
///     L_i = T^2 KL(q || m),   m = (1 - skew) p + skew q
///
/// Errors    as skew_kl_loss
/// Edge      with a positive skew finite where the teacher masks a class; without it such a class
///           is left out
/// Source    Ko et al., 2024
template <class T = float>
double skew_reverse_kl_loss(LossInput<T> student, LossInput<T> teacher,
                            const SkewKlOptions& options = {}, LossGradient<T> gradient = {},
                            const Execution& execution = {}) {
  detail::require_loss_share(options.skew, "skew");
  const detail::LogShares share(options.skew);
  return detail::divergence_loss<T>(
      student, teacher, options.response, gradient, execution,
      [share](double q, double log_q, double, double log_p, double& h) {
        const double log_m = detail::log_sum_exp(share.of + log_q, share.rest + log_p);
        if (q == 0.0 || detail::is_excluded(log_m)) return 0.0;
        h = q * (log_q - log_m + 1.0 - std::exp(share.of + log_q - log_m));
        return q * (log_q - log_m);
      });
}

}  // namespace pare
