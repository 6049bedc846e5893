#pragma once

#include "pare/distillation/labels.hpp"
#include "pare/distillation/response.hpp"

namespace pare {

struct CrossEntropyOptions {
  /// The share of the target that all classes have equally, in [0, 1].
  double label_smoothing = 0.0;
  Index ignored_label = pare::ignored_label;
  /// The first columns that count, 0 for all.
  Index vocabulary = 0;
  SampleOptions common{};
};

/// Cross entropy with labels: the part of a distillation that does not distil.
///
///     L_i = -sum_j t_j log(softmax(student)_j),   t = (1 - s) onehot(label) + s / classes
///
/// Shapes    student, gradient (samples, classes); labels (samples)
/// Values    the mean over samples that are labelled, as PyTorch's
/// Errors    ShapeError; ArgumentError for a label that is no class, or a smoothing outside [0, 1];
///           NumericError as kl_loss, and where a label is a class that the student masks with
///           -inf. Masked classes get no share of the smoothing
/// Accuracy  double
/// Source    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016
template <class T = float>
double cross_entropy_loss(LossInput<T> student, Labels labels,
                          const CrossEntropyOptions& options = {}, LossGradient<T> gradient = {},
                          const Execution& execution = {}) {
  const Index classes = detail::vocabulary_of(student.shape(), student.shape(), options.vocabulary);
  const double smoothing = options.label_smoothing;
  detail::require_loss_share(smoothing, "label smoothing");
  detail::require_labels(labels, student.rows(), classes, options.ignored_label);
  const Vector<double> weights =
      weights_of_labels(labels, options.common.sample_weights, options.ignored_label);
  ResponseOptions response{.common = options.common};
  response.common.sample_weights = weights;
  return detail::student_loss<T>(student, classes, response, gradient, execution,
                                 [&](Index i, const detail::Softmax& q, std::span<double> h) {
                                   const Index label = labels[i];
                                   if (detail::is_excluded(q.log(label)))
                                     throw NumericError("the label of sample " + std::to_string(i) +
                                                        " is class " + std::to_string(label) +
                                                        ", whose logit is -infinity");
                                   double smooth = 0.0;
                                   const double share = smoothing / static_cast<double>(classes);
                                   for (Index j = 0; smoothing != 0.0 && j < classes; ++j) {
                                     if (detail::is_excluded(q.log(j))) continue;
                                     smooth += share * q.log(j);
                                     h[static_cast<std::size_t>(j)] = -share;
                                   }
                                   h[static_cast<std::size_t>(label)] -= 1.0 - smoothing;
                                   return -smooth - (1.0 - smoothing) * q.log(label);
                                 });
}

}  // namespace pare
