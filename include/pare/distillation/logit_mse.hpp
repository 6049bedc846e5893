#pragma once

#include "pare/distillation/response.hpp"

namespace pare {

/// Mean squared difference of logits: what kl_loss becomes at high temperatures, but for the means
/// of the rows and a factor.
///
///     L_i = T^2 mean_j ((student_j - teacher_j) / T)^2
///
/// Values    as in TextBrewer without the factor T^2, which makes the temperature cancel
/// Errors    as kl_loss; NumericError for any logit that is not finite; ArgumentError for
///           keep_student_padding, as the teacher has no logits there
/// Source    Kim et al., "Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in
///           Knowledge Distillation", 2021; TextBrewer
template <class T = float>
double logit_mse_loss(LossInput<T> student, LossInput<T> teacher,
                      const ResponseOptions& options = {}, LossGradient<T> gradient = {},
                      const Execution& execution = {}) {
  if (options.keep_student_padding)
    throw ArgumentError(
        "a difference of logits has no padding to keep: the teacher has no logits there");
  const Index columns = detail::vocabulary_of(student.shape(), teacher.shape(), options.vocabulary);
  return detail::row_loss<T>(
      student, columns, options, gradient, execution,
      [&](Index i, double temperature, std::span<double> dz) {
        const auto z = student.row(i).slice(0, 0, columns),
                   target = teacher.row(i).slice(0, 0, columns);
        detail::require_finite_logits(z, "student", i);
        detail::require_finite_logits(target, "teacher", i);
        double sum = 0.0;
        for (Index j = 0; j < columns; ++j) {
          const double d =
              (static_cast<double>(z[j]) - static_cast<double>(target[j])) / temperature;
          sum += d * d;
          dz[static_cast<std::size_t>(j)] = 2.0 * d / static_cast<double>(columns);
        }
        return sum / static_cast<double>(columns);
      });
}

}  // namespace pare
