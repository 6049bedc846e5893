#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/distillation/kl.hpp"

namespace pare {

/// What is kept of a teacher that is too large to keep whole: of each sample the k most likely
/// classes at one temperature, and how likely all others are together.
template <class T = float>
struct TopKLogits {
  Matrix<Index> classes;        ///< samples, k
  Matrix<T> log_probabilities;  ///< samples, k; of the whole softmax
  Vector<T> log_rest;           ///< samples; -inf where nothing remains
  double temperature = 1.0;
};

/// The k most likely classes of each row, the most likely first, of equal ones the lowest.
///
/// Shapes    logits (samples, classes)
/// Errors    ArgumentError unless 1 <= k <= classes, or for a bad temperature; NumericError as
///           kl_loss
template <class T = float>
[[nodiscard]] TopKLogits<T> top_k_logits(LossInput<T> logits, Index k, double temperature = 1.0) {
  detail::require_temperature(temperature);
  if (k < 1 || k > logits.cols())
    throw ArgumentError("cannot keep " + std::to_string(k) + " of " +
                        std::to_string(logits.cols()) + " classes");
  TopKLogits<T> top{Matrix<Index>({logits.rows(), k}), Matrix<T>({logits.rows(), k}),
                    Vector<T>({logits.rows()}), temperature};
  std::vector<Index> order(static_cast<std::size_t>(logits.cols()));
  for (Index i = 0; i < logits.rows(); ++i) {
    const detail::Softmax p = detail::softmax_of(logits.row(i), temperature, "teacher", i);
    std::iota(order.begin(), order.end(), Index{0});
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](Index a, Index b) {
      return p.log(a) != p.log(b) ? p.log(a) > p.log(b) : a < b;
    });
    double rest = 0.0;
    for (std::size_t r = static_cast<std::size_t>(k); r < order.size(); ++r) rest += p[order[r]];
    for (Index r = 0; r < k; ++r) {
      top.classes(i, r) = order[static_cast<std::size_t>(r)];
      top.log_probabilities(i, r) = static_cast<T>(p.log(top.classes(i, r)));
    }
    top.log_rest[i] = static_cast<T>(std::log(rest));
  }
  return top;
}

/// What becomes of the classes that a teacher's k leave out.
enum class TopKRest {
  one_class,             ///< all of them are one class more, on both sides
  dropped,               ///< their terms are left out of the sum
  teacher_renormalized,  ///< dropped, and the teacher's k have the sum 1
  both_renormalized,     ///< the student's k too: what it gives the others costs nothing
};

struct TopKOptions {
  /// Only `one_class` is a divergence of distributions, and the lower bound of kl_loss that is the
  /// closest of such.
  TopKRest rest = TopKRest::one_class;
  bool times_temperature_squared = true;
  SampleOptions common{};
};

/// KL to a teacher of which the k most likely classes are known, at its temperature.
///
///     L_i = T^2 sum_{j in k} p_j log(p_j / q_j)  [+ T^2 p_rest log(p_rest / q_rest)]
///
/// Shapes    student, gradient (samples, classes); the teacher k classes of as many samples. The
///           student may be padded: what the teacher does not name is the rest
/// Errors    ShapeError; ArgumentError for a class that the student does not have or that is named
///           twice; NumericError as kl_loss, and for a log-probability that is NaN or above 0
/// Edge      classes that either side excludes are left out
/// Accuracy  double; of log-probabilities kept in float 1e-7
template <class T = float>
double top_k_kl_loss(LossInput<T> student, const std::type_identity_t<TopKLogits<T>>& teacher,
                     const TopKOptions& options = {}, LossGradient<T> gradient = {},
                     const Execution& execution = {}) {
  const Index k = teacher.classes.cols();
  detail::require_loss_shape(teacher.log_probabilities.shape(), Shape<2>{student.rows(), k},
                             "teacher's k log-probabilities");
  detail::require_loss_shape(teacher.classes.shape(), Shape<2>{student.rows(), k},
                             "teacher's k classes");
  detail::require_loss_shape(teacher.log_rest.shape(), Shape<1>{student.rows()},
                             "teacher's remaining mass");
  if (k == 0 || student.cols() == 0) throw ShapeError("logits without classes");
  const ResponseOptions response{.temperature = teacher.temperature,
                                 .times_temperature_squared = options.times_temperature_squared,
                                 .common = options.common};
  return detail::student_loss<T>(
      student, student.cols(), response, gradient, execution,
      [&](Index i, const detail::Softmax& q, std::span<double> h) {
        std::vector<char> is_named(h.size());
        double sum_p = 0.0, sum_q = 0.0;
        for (Index r = 0; r < k; ++r) {
          const Index j = teacher.classes(i, r);
          const auto log_p = static_cast<double>(teacher.log_probabilities(i, r));
          const std::string where = " of sample " + std::to_string(i);
          if (j < 0 || j >= student.cols())
            throw ArgumentError("the teacher names class " + std::to_string(j) + where +
                                ", the student has " + std::to_string(student.cols()));
          if (std::exchange(is_named[static_cast<std::size_t>(j)], char{1}) != 0)
            throw ArgumentError("the teacher names class " + std::to_string(j) + where + " twice");
          if (is_nan(log_p) || log_p > 1e-3)
            throw NumericError("the teacher's log-probability of class " + std::to_string(j) +
                               where + " is " + std::to_string(log_p));
          sum_p += std::exp(log_p);
          sum_q += q[j];
        }
        const bool is_p_scaled = options.rest == TopKRest::teacher_renormalized ||
                                 options.rest == TopKRest::both_renormalized;
        const bool is_q_scaled = options.rest == TopKRest::both_renormalized && sum_q > 0.0;
        const double log_scale_p = is_p_scaled ? std::log(sum_p) : 0.0,
                     log_scale_q = is_q_scaled ? std::log(sum_q) : 0.0;
        double loss = 0.0, pulled = 0.0;
        for (Index r = 0; r < k; ++r) {
          const Index j = teacher.classes(i, r);
          const double log_p = static_cast<double>(teacher.log_probabilities(i, r)) - log_scale_p;
          double& h_j = h[static_cast<std::size_t>(j)];
          loss +=
              detail::forward_kl_term(q[j], q.log(j) - log_scale_q, std::exp(log_p), log_p, h_j);
          pulled += h_j;
        }
        if (is_q_scaled)
          for (Index r = 0; r < k; ++r) {
            const Index j = teacher.classes(i, r);
            h[static_cast<std::size_t>(j)] -= pulled * q[j] / sum_q;
          }
        if (options.rest != TopKRest::one_class) return loss;
        double rest_q = 0.0, of_log_rest = 0.0;
        for (Index j = 0; j < q.size(); ++j)
          if (is_named[static_cast<std::size_t>(j)] == 0) rest_q += q[j];
        const auto log_rest = static_cast<double>(teacher.log_rest[i]);
        if (is_nan(log_rest) || log_rest > 1e-3)
          throw NumericError("the log-probability of what the teacher leaves out of sample " +
                             std::to_string(i) + " is " + std::to_string(log_rest));
        loss += detail::forward_kl_term(rest_q, std::log(rest_q), std::exp(log_rest), log_rest,
                                        of_log_rest);
        for (Index j = 0; j < q.size() && of_log_rest != 0.0; ++j)
          if (is_named[static_cast<std::size_t>(j)] == 0)
            h[static_cast<std::size_t>(j)] = of_log_rest * q[j] / rest_q;
        return loss;
      });
}

}  // namespace pare
