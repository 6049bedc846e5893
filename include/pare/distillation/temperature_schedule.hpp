#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "pare/core/tensor.hpp"
#include "pare/distillation/response.hpp"

/// A temperature of its own for each sample, for `sample_temperatures` of ResponseOptions.
///
///     tau_i = temperature + beta (mean(w) - w_i)
///
/// Where w says that a sample is hard, it is met at a lower temperature. Temperatures below
/// `lowest` become that, as for a large beta they could be negative. Source: Wen et al.,
/// "Preparing Lessons: Improve Knowledge Distillation with Better Supervision", 2019; TextBrewer.
namespace pare {

struct SampleTemperatureOptions {
  double temperature = 4.0;
  double beta = 1.0;
  /// Exponent of flsw_temperatures.
  double gamma = 1.0;
  double lowest = 0.1;
};

namespace detail {

[[nodiscard]] inline Vector<double> temperatures_around(Vector<double> w,
                                                        const SampleTemperatureOptions& options) {
  double mean = 0.0;
  for (const double w_i : w.span()) mean += w_i / static_cast<double>(w.size());
  for (double& w_i : w.span())
    w_i = std::max(options.temperature + options.beta * (mean - w_i), options.lowest);
  return w;
}

inline void require_sample_temperatures(const SampleTemperatureOptions& options) {
  require_temperature(options.temperature);
  require_temperature(options.lowest, " that is the lowest");
  if (!is_finite(options.beta) || !is_finite(options.gamma) || options.gamma < 0.0)
    throw ArgumentError("temperatures of samples with beta " + std::to_string(options.beta) +
                        " and gamma " + std::to_string(options.gamma));
}

}  // namespace detail

/// Focal-loss style: w_i = (1 - cosine(student_i, teacher_i))^gamma.
///
/// Shapes    student, teacher (samples, classes); the result (samples)
/// Errors    as kl_loss; ArgumentError for bad options; NumericError for a logit that is not finite
/// Edge      a row of zeros has the cosine 0 (NaN in TextBrewer)
template <class T = float>
[[nodiscard]] Vector<double> flsw_temperatures(LossInput<T> student, LossInput<T> teacher,
                                               const SampleTemperatureOptions& options = {}) {
  detail::require_sample_temperatures(options);
  (void)detail::vocabulary_of(student.shape(), teacher.shape(), 0);
  Vector<double> w({student.rows()});
  for (Index i = 0; i < student.rows(); ++i) {
    detail::require_finite_logits(student.row(i), "student", i);
    detail::require_finite_logits(teacher.row(i), "teacher", i);
    double ss = 0.0, tt = 0.0, st = 0.0;
    for (Index j = 0; j < student.cols(); ++j) {
      const auto s = static_cast<double>(student(i, j)), t = static_cast<double>(teacher(i, j));
      ss += s * s;
      tt += t * t;
      st += s * t;
    }
    const double norms = std::sqrt(ss) * std::sqrt(tt);
    // Rounding may leave a cosine a little above 1, which most exponents do not take.
    w[i] = std::pow(std::max(1.0 - (norms > 0.0 ? st / norms : 0.0), 0.0), options.gamma);
  }
  return detail::temperatures_around(std::move(w), options);
}

/// Confidence-weighted by the student's maximum: w_i = 1 / (max softmax(student_i) + 0.001).
///
/// Shapes    student (samples, classes); the result (samples)
/// Errors    as flsw_temperatures; -inf is allowed
template <class T = float>
[[nodiscard]] Vector<double> cwsm_temperatures(LossInput<T> student,
                                               const SampleTemperatureOptions& options = {}) {
  detail::require_sample_temperatures(options);
  Vector<double> w({student.rows()});
  for (Index i = 0; i < student.rows(); ++i) {
    const detail::Softmax q = detail::softmax_of(student.row(i), 1.0, "student", i);
    w[i] = 1.0 / (q[q.most_likely()] + 1e-3);
  }
  return detail::temperatures_around(std::move(w), options);
}

}  // namespace pare
