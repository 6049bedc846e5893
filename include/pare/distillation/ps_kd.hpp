#pragma once

#include <algorithm>

#include "pare/distillation/cross_entropy.hpp"
#include "pare/distillation/soft_cross_entropy.hpp"

namespace pare {

/// How much of PS-KD's target is the model of the epoch before: last * epoch / epochs. Throws
/// ArgumentError for fewer epochs than one, or a last share outside [0, 1].
[[nodiscard]] inline double ps_kd_share(Index epoch, Index epochs, double last = 0.8) {
  detail::require_loss_share(last, "last share of the model before");
  if (epochs < 1) throw ArgumentError("there are " + std::to_string(epochs) + " epochs");
  return last * static_cast<double>(std::clamp<Index>(epoch, 0, epochs)) /
         static_cast<double>(epochs);
}

struct PsKdOptions {
  Labels labels{};
  /// In [0, 1]; see ps_kd_share.
  double share = 0.0;
  Index ignored_label = pare::ignored_label;
  SampleOptions common{};
};

/// Progressive self-distillation: labels are softened by what the model itself said an epoch ago.
///
///     L_i = -sum_j t_ij log q_ij,   t_i = (1 - share) onehot(label_i) + share softmax(previous_i)
///
/// Shapes    student, previous, gradient (samples, classes); labels (samples)
/// Errors    as cross_entropy_loss; ArgumentError for a share outside [0, 1]
/// Source    Kim et al., "Self-Knowledge Distillation with Progressive Refinement of Targets", 2021
template <class T = float>
double ps_kd_loss(LossInput<T> student, LossInput<T> previous, const PsKdOptions& options,
                  LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_loss_share(options.share, "share of the model before");
  CrossEntropyOptions hard{.ignored_label = options.ignored_label, .common = options.common};
  hard.common.weight *= 1.0 - options.share;
  const double from_labels =
      cross_entropy_loss<T>(student, options.labels, hard, gradient, execution);
  const Vector<double> weights =
      weights_of_labels(options.labels, options.common.sample_weights, options.ignored_label);
  ResponseOptions soft{.common = options.common};
  soft.common.sample_weights = weights;
  soft.common.weight *= options.share;
  soft.common.add_gradient = true;
  return from_labels + soft_cross_entropy_loss<T>(student, previous, soft, gradient, execution);
}

}  // namespace pare
