#pragma once

#include "pare/distillation/cross_entropy.hpp"
#include "pare/distillation/kl.hpp"

namespace pare {

struct MutualLearningOptions {
  double label_smoothing = 0.0;
  Index ignored_label = pare::ignored_label;
  ResponseOptions response{};
};

/// Deep mutual learning: students that teach each other.
///
///     L = sum_k (cross_entropy(z_k, labels) + 1 / (K - 1) sum_{l != k} T^2 KL(p_l || p_k))
///
/// Shapes    each of K >= 2 students (samples, classes); labels (samples); `gradients` none, or one
///           for each student
/// Values    each student is a constant to the others. Students that learn in turn are a call of
///           kl_loss and cross_entropy_loss each
/// Errors    as kl_loss and cross_entropy_loss; ArgumentError for fewer students than two
/// Source    Zhang et al., "Deep Mutual Learning", 2018, where the temperature is 1
template <class T = float>
double mutual_learning_loss(ManyLogits<T> students, Labels labels,
                            const MutualLearningOptions& options = {},
                            std::type_identity_t<std::span<const MatrixView<T>>> gradients = {},
                            const Execution& execution = {}) {
  if (students.size() < 2)
    throw ArgumentError("mutual learning needs two students, there are " +
                        std::to_string(students.size()));
  if (!gradients.empty() && gradients.size() != students.size())
    throw ShapeError("there are " + std::to_string(gradients.size()) + " gradients for " +
                     std::to_string(students.size()) + " students");
  ResponseOptions response = options.response;
  const Vector<double> weights =
      weights_of_labels(labels, response.common.sample_weights, options.ignored_label);
  response.common.sample_weights = weights;
  const CrossEntropyOptions hard{.label_smoothing = options.label_smoothing,
                                 .ignored_label = options.ignored_label,
                                 .vocabulary = response.vocabulary,
                                 .common = response.common};
  response.common.weight /= static_cast<double>(students.size() - 1);
  response.common.add_gradient = true;
  double loss = 0.0;
  for (std::size_t k = 0; k < students.size(); ++k) {
    const MatrixView<T> gradient = gradients.empty() ? MatrixView<T>{} : gradients[k];
    loss += cross_entropy_loss<T>(students[k], labels, hard, gradient, execution);
    for (std::size_t l = 0; l < students.size(); ++l)
      if (l != k) loss += kl_loss<T>(students[k], students[l], response, gradient, execution);
  }
  return loss;
}

}  // namespace pare
