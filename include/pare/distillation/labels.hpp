#pragma once

#include <string>

#include "pare/core/tensor.hpp"
#include "pare/distillation/loss.hpp"

namespace pare {

/// The class of each sample.
using Labels = VectorView<const Index>;

/// What PyTorch and its kin write where a token has no label.
inline constexpr Index ignored_label = -100;

/// Weights of samples from labels: 0 where a sample is ignored, else `sample_weights`, or 1 where
/// there are none. So any loss counts what is labelled only:
///
///     const auto weights = weights_of_labels(labels);
///     kl_loss(student, teacher, {.common = {.sample_weights = weights}});
///
/// Errors    ShapeError when there are weights, and not as many as labels
[[nodiscard]] inline Vector<double> weights_of_labels(Labels labels,
                                                      VectorView<const double> sample_weights = {},
                                                      Index ignored = ignored_label) {
  if (!sample_weights.empty() && sample_weights.size() != labels.size())
    throw ShapeError("there are " + std::to_string(sample_weights.size()) + " weights for " +
                     std::to_string(labels.size()) + " labels");
  Vector<double> weights({labels.size()});
  for (Index i = 0; i < labels.size(); ++i)
    weights[i] = labels[i] == ignored ? 0.0 : sample_weights.empty() ? 1.0 : sample_weights[i];
  return weights;
}

namespace detail {

/// Throws ShapeError unless there is a label for each sample, ArgumentError for one that is neither
/// a class nor `ignored`.
inline void require_labels(Labels labels, Index samples, Index classes, Index ignored) {
  if (labels.size() != samples)
    throw ShapeError("there are " + std::to_string(labels.size()) + " labels for " +
                     std::to_string(samples) + " samples");
  for (Index i = 0; i < labels.size(); ++i)
    if (labels[i] != ignored && (labels[i] < 0 || labels[i] >= classes))
      throw ArgumentError("the label of sample " + std::to_string(i) + " is " +
                          std::to_string(labels[i]) + ": it must be below " +
                          std::to_string(classes) + ", or " + std::to_string(ignored) +
                          " to be ignored");
}

}  // namespace detail
}  // namespace pare
