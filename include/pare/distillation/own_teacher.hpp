#pragma once

#include "pare/distillation/cross_entropy.hpp"
#include "pare/distillation/soft_cross_entropy.hpp"

namespace pare {

struct OwnTeacherOptions {
  /// The share of the last exit's opinion in what the others learn, in [0, 1].
  double alpha = 0.1;
  /// Weight of the features.
  double beta = 1e-6;
  Labels labels{};
  double label_smoothing = 0.0;
  Index ignored_label = pare::ignored_label;
  ResponseOptions response{.temperature = 3.0};
};

/// Gradients of own_teacher_loss: none, or one for each exit.
template <class T>
struct OwnTeacherGradients {
  std::span<const MatrixView<T>> logits{};
  std::span<const MatrixView<T>> features{};
};

/// Be your own teacher: exits of a network learn from the last one.
///
///     L = (1 - alpha) sum_e cross_entropy(z_e, labels)
///         + alpha T^2 sum_{e < last} soft_cross_entropy(z_e, z_last)
///         + beta sum_{e < last} sum over elements of (f_e - f_last)^2 where f_e > 0 or f_last > 0
///
/// Shapes    exits: each (samples, classes), the last is the deepest; features: none, or a matrix
/// of
///           one shape for each exit
/// Values    the last exit is a constant in the second and third sum. The third is a sum, not a
///           mean, also over samples, hence the small beta; sample weights do not count in it
/// Errors    as soft_cross_entropy_loss and cross_entropy_loss; ArgumentError for fewer exits than
///           two, an alpha outside [0, 1], a negative beta; NumericError for a feature that is not
///           finite
/// Source    Zhang et al., "Be Your Own Teacher", 2019, and luanyunteng's code, whose defaults
///           these are
template <class T = float>
double own_teacher_loss(ManyLogits<T> exits, ManyLogits<T> features,
                        const OwnTeacherOptions& options,
                        const std::type_identity_t<OwnTeacherGradients<T>>& gradients = {},
                        const Execution& execution = {}) {
  const std::size_t count = exits.size();
  if (count < 2)
    throw ArgumentError("own teachers need two exits, there are " + std::to_string(count));
  detail::require_loss_share(options.alpha, "alpha of own teachers");
  detail::require_loss_weight(options.beta, "beta of own teachers");
  for (const std::size_t other :
       {features.size(), gradients.logits.size(), gradients.features.size()})
    if (other != 0 && other != count)
      throw ShapeError("there are " + std::to_string(other) + " features or gradients for " +
                       std::to_string(count) + " exits");
  const double weight = options.response.common.weight;
  ResponseOptions soft = options.response;
  const Vector<double> weights =
      weights_of_labels(options.labels, soft.common.sample_weights, options.ignored_label);
  soft.common.sample_weights = weights;
  CrossEntropyOptions hard{.label_smoothing = options.label_smoothing,
                           .ignored_label = options.ignored_label,
                           .vocabulary = soft.vocabulary,
                           .common = soft.common};
  hard.common.weight = (1.0 - options.alpha) * weight;
  soft.common.weight = options.alpha * weight;
  soft.common.add_gradient = true;
  double loss = 0.0;
  for (std::size_t e = 0; e < count; ++e) {
    const MatrixView<T> gradient = gradients.logits.empty() ? MatrixView<T>{} : gradients.logits[e];
    loss += cross_entropy_loss<T>(exits[e], options.labels, hard, gradient, execution);
    if (e + 1 < count)
      loss += soft_cross_entropy_loss<T>(exits[e], exits[count - 1], soft, gradient, execution);
  }
  for (std::size_t e = 0; e < features.size(); ++e) {
    const MatrixView<const T> f = features[e], last = features[count - 1];
    const MatrixView<T> gradient =
        gradients.features.empty() ? MatrixView<T>{} : gradients.features[e];
    detail::require_loss_shape(f.shape(), last.shape(), "feature of an exit");
    detail::require_gradient_shape(gradient, f.shape());
    for (Index i = 0; i < f.rows(); ++i)
      for (Index j = 0; j < f.cols(); ++j) {
        const auto x = static_cast<double>(f(i, j)), y = static_cast<double>(last(i, j));
        if (!is_finite(x))
          throw NumericError("the feature of exit " + std::to_string(e) + " is not finite at [" +
                             std::to_string(i) + ", " + std::to_string(j) + "]");
        const double d = e + 1 < count && (x > 0.0 || y > 0.0) ? x - y : 0.0;
        loss += weight * options.beta * d * d;
        if (gradient.data() != nullptr)
          detail::put_gradient(gradient(i, j), 2.0 * weight * options.beta * d,
                               options.response.common.add_gradient);
      }
  }
  return loss;
}

}  // namespace pare
