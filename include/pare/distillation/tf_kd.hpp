#pragma once

#include "pare/distillation/kl.hpp"
#include "pare/distillation/labels.hpp"

namespace pare {

struct TfKdOptions {
  Labels labels{};
  /// What the teacher gives the label, in [0, 1]; the others share the rest.
  double correct = 0.99;
  Index ignored_label = pare::ignored_label;
  ResponseOptions response{.temperature = 20.0};
};

/// Teacher-free distillation: a teacher made by hand, who is right.
///
///     L_i = T^2 KL(softmax(t_i / T) || softmax(student_i / T)),
///     t_ij = correct for the label, (1 - correct) / (classes - 1) for the others
///
/// Shapes    student, gradient (samples, classes); labels (samples)
/// Errors    as kl_loss; ArgumentError for a label that is no class, or a share outside [0, 1]
/// Source    Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization"
///           (Tf-KD), 2020; their code tempers the teacher only and has a factor of its own
template <class T = float>
double tf_kd_loss(LossInput<T> student, const TfKdOptions& options, LossGradient<T> gradient = {},
                  const Execution& execution = {}) {
  detail::require_loss_share(options.correct, "share of the label");
  ResponseOptions response = options.response;
  const Index classes =
      detail::vocabulary_of(student.shape(), student.shape(), response.vocabulary);
  detail::require_labels(options.labels, student.rows(), classes, options.ignored_label);
  const Vector<double> weights =
      weights_of_labels(options.labels, response.common.sample_weights, options.ignored_label);
  response.common.sample_weights = weights;
  return detail::student_loss<T>(
      student, classes, response, gradient, execution,
      [&](Index i, const detail::Softmax& q, std::span<double> h) {
        Vector<double> by_hand({classes});
        by_hand.fill((1.0 - options.correct) /
                     static_cast<double>(std::max<Index>(classes - 1, 1)));
        by_hand[options.labels[i]] = options.correct;
        const detail::Softmax p(by_hand.view(), detail::temperature_of(response, i));
        double loss = 0.0;
        for (Index j = 0; j < classes; ++j)
          loss += detail::forward_kl_term(q[j], q.log(j), p[j], p.log(j),
                                          h[static_cast<std::size_t>(j)]);
        return loss;
      });
}

}  // namespace pare
