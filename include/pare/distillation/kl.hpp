#pragma once

#include "pare/distillation/response.hpp"

namespace pare {

namespace detail {

/// The term of a class in KL(p || q), with its gradient with respect to log q. A class that either
/// side excludes (log-probability -inf) is left out: the divergence is finite.
[[nodiscard]] inline double forward_kl_term(double, double log_q, double p, double log_p,
                                            double& h) noexcept {
  const bool is_left_out = is_excluded(log_q) || is_excluded(log_p);
  h = is_left_out ? 0.0 : -p;
  return is_left_out ? 0.0 : p * (log_p - log_q);
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

}  // namespace pare
