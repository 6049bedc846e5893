#pragma once

#include <cmath>

#include "pare/distillation/kl.hpp"
#include "pare/distillation/labels.hpp"

namespace pare {

struct DkdOptions {
  Labels labels{};
  /// Weights of the term of the target class, and of that of the others.
  double alpha = 1.0, beta = 8.0;
  Index ignored_label = pare::ignored_label;
  ResponseOptions response{.temperature = 4.0};
};

namespace detail {

/// log(1 - p_y), from the other classes, so that it is exact where p_y is close to 1.
[[nodiscard]] inline double log_of_others(const Softmax& p, Index y) noexcept {
  double largest = minus_infinity;
  for (Index j = 0; j < p.size(); ++j)
    if (j != y) largest = std::max(largest, p.log(j));
  if (is_excluded(largest)) return minus_infinity;
  double sum = 0.0;
  for (Index j = 0; j < p.size(); ++j)
    if (j != y) sum += std::exp(p.log(j) - largest);
  return largest + std::log(sum);
}

}  // namespace detail

/// Decoupled knowledge distillation: whether it is the target class, and which of the others it
/// would be, with a weight each.
///
///     L_i = T^2 (alpha KL((p_y, 1 - p_y) || (q_y, 1 - q_y)) + beta KL(p' || q'))
///
/// with p', q' the distributions over the classes other than the label y. kl_loss is alpha 1 and
/// beta 1 - p_y.
///
/// Errors    as kl_loss; ArgumentError for a label that is no class, and negative weights
/// Edge      two classes have no second term. What either side masks is left out; finite where the
///           student is sure, where other tools give infinity or NaN
/// Source    Zhao et al., "Decoupled Knowledge Distillation", 2022; alpha, beta and T are the
///           authors', who let the loss grow to its size over 20 epochs (dkd_warmup)
template <class T = float>
double dkd_loss(LossInput<T> student, LossInput<T> teacher, const DkdOptions& options,
                LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_weight(options.alpha, "alpha of DKD");
  detail::require_loss_weight(options.beta, "beta of DKD");
  ResponseOptions response = options.response;
  const Index classes =
      detail::vocabulary_of(student.shape(), teacher.shape(), response.vocabulary);
  detail::require_labels(options.labels, student.rows(), classes, options.ignored_label);
  const Vector<double> weights =
      weights_of_labels(options.labels, response.common.sample_weights, options.ignored_label);
  response.common.sample_weights = weights;
  return detail::response_loss<T>(
      student, teacher, response, gradient, execution,
      [&](Index i, const detail::Softmax& q, const detail::Softmax& p, std::span<double> h) {
        const Index y = options.labels[i];
        const double log_q_others = detail::log_of_others(q, y),
                     log_p_others = detail::log_of_others(p, y);
        const auto binary = [](double log_p, double log_q) {
          return detail::is_excluded(log_p) || detail::is_excluded(log_q)
                     ? 0.0
                     : std::exp(log_p) * (log_p - log_q);
        };
        double loss =
            options.alpha * (binary(p.log(y), q.log(y)) + binary(log_p_others, log_q_others));
        const bool has_others =
            !detail::is_excluded(log_q_others) && !detail::is_excluded(log_p_others);
        if (!has_others) return loss;
        // Gradients of tempered logits, 0 in sum: q_y - p_y for y goes from the others as they have
        // shares in them, and among themselves they have a softmax of their own.
        const double target = detail::is_excluded(q.log(y)) ? 0.0 : options.alpha * (q[y] - p[y]);
        double pulled = 0.0;
        for (Index j = 0; j < q.size(); ++j) {
          double& h_j = h[static_cast<std::size_t>(j)];
          if (j == y) continue;
          const double log_q_j = q.log(j) - log_q_others, log_p_j = p.log(j) - log_p_others;
          loss +=
              options.beta * detail::forward_kl_term(0.0, log_q_j, std::exp(log_p_j), log_p_j, h_j);
          pulled += h_j;
        }
        for (Index j = 0; j < q.size(); ++j) {
          double& h_j = h[static_cast<std::size_t>(j)];
          const double share = j == y ? 0.0 : std::exp(q.log(j) - log_q_others);
          h_j = j == y ? target : options.beta * (h_j - share * pulled) - target * share;
        }
        return loss;
      });
}

}  // namespace pare
