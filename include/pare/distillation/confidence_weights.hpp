#pragma once

#include <string>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/distillation/labels.hpp"
#include "pare/distillation/teachers_kl.hpp"

namespace pare {

namespace detail {

/// The softmax over several models of their cross entropies with the label of sample i.
template <class T>
[[nodiscard]] Softmax softmax_of_cross_entropies(std::span<const MatrixView<const T>> models,
                                                 Labels labels, Index i) {
  Vector<double> cross_entropy({static_cast<Index>(models.size())});
  for (std::size_t m = 0; m < models.size(); ++m) {
    const Softmax p = softmax_of(models[m].row(i), 1.0, "teacher", i);
    if (is_excluded(p.log(labels[i])))
      throw NumericError("the label of sample " + std::to_string(i) + " is class " +
                         std::to_string(labels[i]) + ", whose logit is -infinity");
    cross_entropy[static_cast<Index>(m)] = -p.log(labels[i]);
  }
  return Softmax(cross_entropy.view(), 1.0);
}

/// The weight that follows from a model's share in that softmax.
[[nodiscard]] inline double confidence_weight(double share, std::size_t models) noexcept {
  return models == 1 ? 1.0 : (1.0 - share) / static_cast<double>(models - 1);
}

}  // namespace detail

/// More weight for teachers that know the label of a sample.
///
///     w_mi = (1 - softmax_m(cross entropy of teacher m)) / (teachers - 1)
///
/// Shapes    each teacher (samples, classes); labels (samples); the result (teachers, samples)
/// Values    of a sample they have the sum 1; where its label is ignored they are 0
/// Errors    as cross_entropy_loss; ArgumentError without teachers
/// Edge      one teacher alone has the weight 1 (a division by zero in the authors' code)
/// Source    Zhang et al., "Confidence-Aware Multi-Teacher Knowledge Distillation" (CA-MKD), 2022
template <class T = float>
[[nodiscard]] Matrix<double> confidence_weights(ManyLogits<T> teachers, Labels labels,
                                                Index ignored = ignored_label) {
  detail::require_teachers<T>(teachers, {});
  detail::require_labels(labels, teachers[0].rows(), teachers[0].cols(), ignored);
  Matrix<double> weights({static_cast<Index>(teachers.size()), labels.size()});
  for (Index i = 0; i < labels.size(); ++i) {
    if (labels[i] == ignored) continue;
    const detail::Softmax shares = detail::softmax_of_cross_entropies(teachers, labels, i);
    for (Index m = 0; m < weights.rows(); ++m)
      weights(m, i) = detail::confidence_weight(shares[m], teachers.size());
  }
  return weights;
}

}  // namespace pare
