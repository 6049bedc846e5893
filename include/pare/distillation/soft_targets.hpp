#pragma once

#include <cmath>

#include "pare/distillation/response.hpp"

/// Losses whose teacher is a row of probabilities: means of teachers, labels that are mixed in,
/// teachers made by hand. The temperature is the student's; the probabilities are at it already.
namespace pare {

namespace detail {

/// `term(log_q, p)` of the classes that are possible on both sides, with the gradient -p.
template <class T, class F>
[[nodiscard]] double soft_target_loss(MatrixView<const T> student,
                                      MatrixView<const T> probabilities,
                                      const ResponseOptions& options, MatrixView<T> gradient,
                                      const Execution& execution, const F& term) {
  const Index vocabulary =
      vocabulary_of(student.shape(), probabilities.shape(), options.vocabulary);
  const Index columns = options.keep_student_padding ? student.cols() : vocabulary;
  return student_loss(
      student, columns, options, gradient, execution,
      [&](Index i, const Softmax& q, std::span<double> h) {
        double loss = 0.0, sum = 0.0;
        for (Index j = 0; j < vocabulary; ++j) {
          const auto p = static_cast<double>(probabilities(i, j));
          if (!is_finite(p) || p < 0.0)
            throw NumericError("the target at [" + std::to_string(i) + ", " + std::to_string(j) +
                               "] is " + std::to_string(p) + ", not a probability");
          sum += p;
          if (p == 0.0 || is_excluded(q.log(j))) continue;
          loss += term(q.log(j), p);
          h[static_cast<std::size_t>(j)] = -p;
        }
        if (std::fabs(sum - 1.0) > 1e-3)
          throw NumericError("the targets of sample " + std::to_string(i) + " have the sum " +
                             std::to_string(sum) + ": probabilities have 1");
        return loss;
      });
}

}  // namespace detail

/// KL from given probabilities.
///
///     L_i = T^2 sum_j p_j log(p_j / q_j),   q = softmax(student / T)
///
/// Shapes    student, probabilities, gradient (samples, classes)
/// Errors    as kl_loss; NumericError for what is no probability, and a sum that is not 1 within
///           1e-3
/// Edge      classes that the student masks with -inf are left out
template <class T = float>
double soft_target_kl_loss(LossInput<T> student, LossInput<T> probabilities,
                           const ResponseOptions& options = {}, LossGradient<T> gradient = {},
                           const Execution& execution = {}) {
  return detail::soft_target_loss<T>(
      student, probabilities, options, gradient, execution,
      [](double log_q, double p) { return p * (std::log(p) - log_q); });
}

/// Cross entropy with given probabilities, with the same gradient.
///
///     L_i = -T^2 sum_j p_j log(q_j)
///
/// Errors    as soft_target_kl_loss
template <class T = float>
double soft_target_cross_entropy_loss(LossInput<T> student, LossInput<T> probabilities,
                                      const ResponseOptions& options = {},
                                      LossGradient<T> gradient = {},
                                      const Execution& execution = {}) {
  return detail::soft_target_loss<T>(student, probabilities, options, gradient, execution,
                                     [](double log_q, double p) { return -p * log_q; });
}

}  // namespace pare
