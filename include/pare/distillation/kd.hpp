#pragma once

#include "pare/distillation/cross_entropy.hpp"
#include "pare/distillation/kl.hpp"

namespace pare {

struct KdOptions {
  /// Weights of the two terms. Hinton's alpha is the first, with 1 - alpha for the second.
  double teacher_weight = 0.9;
  double label_weight = 0.1;
  Labels labels{};
  double label_smoothing = 0.0;
  Index ignored_label = pare::ignored_label;
  /// Of both terms; the temperature is the teacher term's, labels are met at 1.
  ResponseOptions response{.temperature = 4.0};
};

/// Distillation with labels mixed in.
///
///     L = teacher_weight T^2 KL(p || q) + label_weight cross_entropy(student, labels)
///
/// Shapes    student, teacher, gradient (samples, classes); labels (samples), or none with a
///           label_weight of 0
/// Values    a sample whose label is ignored counts in neither term; each term is a mean over the
///           others, or has the divisor that is given
/// Errors    as kl_loss and cross_entropy_loss; ArgumentError for a weight that is negative or not
///           finite, and for missing labels
/// Source    Hinton et al., 2015; the default weights and temperature are RepDistiller's and
///           mdistiller's
template <class T = float>
double kd_loss(LossInput<T> student, LossInput<T> teacher, const KdOptions& options = {},
               LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_weight(options.teacher_weight, "weight of the teacher");
  detail::require_loss_weight(options.label_weight, "weight of the labels");
  const bool has_labels = !options.labels.empty();
  if (!has_labels && options.label_weight > 0.0 && student.rows() > 0)
    throw ArgumentError("labels have the weight " + std::to_string(options.label_weight) +
                        " and there are none: give labels, or a label_weight of 0");
  ResponseOptions response = options.response;
  Vector<double> weights;
  if (has_labels) {
    const Index classes =
        detail::vocabulary_of(student.shape(), teacher.shape(), response.vocabulary);
    detail::require_labels(options.labels, student.rows(), classes, options.ignored_label);
    weights =
        weights_of_labels(options.labels, response.common.sample_weights, options.ignored_label);
    response.common.sample_weights = weights;
  }
  response.common.weight *= options.teacher_weight;
  const double from_teacher = kl_loss<T>(student, teacher, response, gradient, execution);
  if (!has_labels) return from_teacher;
  CrossEntropyOptions hard{.label_smoothing = options.label_smoothing,
                           .ignored_label = options.ignored_label,
                           .vocabulary = response.keep_student_padding ? 0 : response.vocabulary,
                           .common = response.common};
  hard.common.weight = options.response.common.weight * options.label_weight;
  hard.common.add_gradient = true;
  return from_teacher + cross_entropy_loss<T>(student, options.labels, hard, gradient, execution);
}

}  // namespace pare
