#pragma once

#include "pare/distillation/confidence_weights.hpp"

namespace pare {

struct ConfidentFeaturesOptions {
  Labels labels{};
  Index ignored_label = pare::ignored_label;
  SampleOptions common{};
};

/// Gradients of confident_features_loss: none, or one for each teacher.
template <class T>
struct ConfidentFeaturesGradients {
  std::span<const MatrixView<T>> features{};
  std::span<const MatrixView<T>> logits{};
};

/// CA-MKD's features: the student's, projected to each teacher's, are compared where that teacher's
/// own last layers make the right class of them.
///
///     L_i = sum_m w_mi mean_d (s_mid - t_mid)^2,   w as confidence_weights(logits, labels)
///
/// Shapes    for each teacher: features s_m, t_m (samples, elements of teacher m), and `logits`
///           (samples, classes) of its last layers on s_m
/// Values    the authors' code divides by the number of teachers too. The weights are no constants:
///           the gradient goes through the logits as well
/// Errors    ShapeError; ArgumentError without teachers or for a label that is no class;
///           NumericError as kl_loss, and for a feature that is not finite
/// Accuracy  double
/// Source    Zhang et al., 2022, and the authors' code
template <class T = float>
double confident_features_loss(
    ManyLogits<T> student, ManyLogits<T> teacher, ManyLogits<T> logits,
    const ConfidentFeaturesOptions& options,
    const std::type_identity_t<ConfidentFeaturesGradients<T>>& gradients = {},
    const Execution& execution = {}) {
  detail::require_teachers<T>(logits, {});
  const std::size_t teachers = logits.size();
  const Index samples = logits[0].rows();
  if (student.size() != teachers || teacher.size() != teachers)
    throw ShapeError("there are logits of " + std::to_string(teachers) + " teachers, features of " +
                     std::to_string(student.size()) + " students and " +
                     std::to_string(teacher.size()) + " teachers");
  for (const auto* all : {&gradients.features, &gradients.logits})
    if (!all->empty() && all->size() != teachers)
      throw ShapeError("there are " + std::to_string(all->size()) + " gradients for " +
                       std::to_string(teachers) + " teachers");
  for (std::size_t m = 0; m < teachers; ++m) {
    detail::require_loss_shape(teacher[m].shape(), student[m].shape(), "teacher's feature");
    if (student[m].rows() != samples || student[m].cols() == 0)
      throw ShapeError("features of shape " + to_string(student[m].shape()) + " for " +
                       std::to_string(samples) + " samples");
    if (!gradients.features.empty())
      detail::require_gradient_shape(gradients.features[m], student[m].shape());
    if (!gradients.logits.empty())
      detail::require_gradient_shape(gradients.logits[m], logits[m].shape());
  }
  detail::require_labels(options.labels, samples, logits[0].cols(), options.ignored_label);
  SampleOptions common = options.common;
  const Vector<double> sample_weights =
      weights_of_labels(options.labels, common.sample_weights, options.ignored_label);
  common.sample_weights = sample_weights;
  return detail::sum_over_samples(samples, common, execution, [&](Index i, double factor) {
    const auto put_row = [&](const MatrixView<T>& gradient, const auto& value) {
      for (Index j = 0; j < gradient.cols(); ++j)
        detail::put_gradient(gradient(i, j), factor == 0.0 ? 0.0 : factor * value(j),
                             common.add_gradient);
    };
    std::vector<double> distance(teachers);
    detail::Softmax shares;
    double loss = 0.0, mean_distance = 0.0;
    if (factor != 0.0) {
      shares = detail::softmax_of_cross_entropies(logits, options.labels, i);
      for (std::size_t m = 0; m < teachers; ++m) {
        for (Index d = 0; d < student[m].cols(); ++d) {
          const double e =
              static_cast<double>(student[m](i, d)) - static_cast<double>(teacher[m](i, d));
          if (!is_finite(e))
            throw NumericError("a feature of sample " + std::to_string(i) + " for teacher " +
                               std::to_string(m) + " is not finite");
          distance[m] += e * e / static_cast<double>(student[m].cols());
        }
        const double share = shares[static_cast<Index>(m)];
        loss += detail::confidence_weight(share, teachers) * distance[m];
        mean_distance += share * distance[m];
      }
    }
    for (std::size_t m = 0; m < teachers; ++m) {
      const double share = factor == 0.0 ? 0.0 : shares[static_cast<Index>(m)];
      if (!gradients.features.empty())
        put_row(gradients.features[m], [&](Index d) {
          return detail::confidence_weight(share, teachers) * 2.0 *
                 (static_cast<double>(student[m](i, d)) - static_cast<double>(teacher[m](i, d))) /
                 static_cast<double>(student[m].cols());
        });
      if (gradients.logits.empty()) continue;
      // Of cross entropy m: - share_m (distance_m - mean) / (teachers - 1).
      const double of_cross_entropy = teachers == 1 ? 0.0
                                                    : -share * (distance[m] - mean_distance) /
                                                          static_cast<double>(teachers - 1);
      const detail::Softmax q =
          factor == 0.0 ? detail::Softmax() : detail::Softmax(logits[m].row(i), 1.0);
      put_row(gradients.logits[m], [&](Index j) {
        return of_cross_entropy * (q[j] - (j == options.labels[i] ? 1.0 : 0.0));
      });
    }
    return loss;
  });
}

}  // namespace pare
