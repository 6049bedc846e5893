#pragma once

#include "pare/distillation/response.hpp"

namespace pare {

namespace detail {

/// The terms of a class in KL(p || q) and KL(q || p), with their gradients with respect to log q. A
/// class that either side excludes (log-probability -inf) is left out: the divergence is finite.
[[nodiscard]] inline double forward_kl_term(double, double log_q, double p, double log_p,
                                            double& h) noexcept {
  const bool is_left_out = is_excluded(log_q) || is_excluded(log_p);
  h = is_left_out ? 0.0 : -p;
  return is_left_out ? 0.0 : p * (log_p - log_q);
}
[[nodiscard]] inline double reverse_kl_term(double q, double log_q, double, double log_p,
                                            double& h) noexcept {
  const bool is_left_out = is_excluded(log_q) || is_excluded(log_p);
  h = is_left_out ? 0.0 : q * (log_q - log_p + 1.0);
  return is_left_out ? 0.0 : q * (log_q - log_p);
}

}  // namespace detail

/// Forward Kullback-Leibler divergence of tempered softmaxes, the classic of distillation.
///
///     L_i = T^2 sum_j p_j log(p_j / q_j),   p = softmax(teacher / T), q = softmax(student / T)
///
/// Shapes    student, teacher, gradient (samples, classes), or more columns with `vocabulary`
/// Values    from 0, which it is for equal distributions; the mean over samples. Averaging over
///           classes too, as PKD, TAKD and DeiT do, is `.common = {.divisor = samples * classes}`
/// Errors    ShapeError; ArgumentError for a temperature that is no positive number; NumericError
///           naming a NaN or +inf, or a row without a possible class
/// Edge      -inf, a class that is masked, is allowed on either side: the class is left out of the
///           sum there
/// Accuracy  double
/// Source    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015
template <class T = float>
double kl_loss(LossInput<T> student, LossInput<T> teacher, const ResponseOptions& options = {},
               LossGradient<T> gradient = {}, const Execution& execution = {}) {
  return detail::divergence_loss<T>(student, teacher, options, gradient, execution,
                                    detail::forward_kl_term);
}

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
