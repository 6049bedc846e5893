#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "pare/distillation/feature_maps.hpp"

namespace pare {

/// The margin of each channel for overhaul_loss: the mean of what is below 0 of the teacher's
/// features, as its batch norm before the ReLU has them, a Gaussian of mean beta and deviation
/// |gamma|; -3 |gamma| where less than a thousandth is below 0.
///
/// Shapes    gamma, beta (channels)
/// Errors    ShapeError; NumericError for what is not finite
/// Edge      the authors' code divides by a gamma of 0: here the channel is constant, and its
/// margin
///           is beta where that is below 0, else 0
template <class T = float>
[[nodiscard]] Vector<double> overhaul_margins(LossInput<T, 1> gamma, LossInput<T, 1> beta) {
  if (gamma.size() != beta.size())
    throw ShapeError("gamma has " + std::to_string(gamma.size()) + " values, beta " +
                     std::to_string(beta.size()));
  Vector<double> margins = detail::feature_values(beta, "norm's beta");
  const Vector<double> deviations = detail::feature_values(gamma, "norm's gamma");
  for (Index c = 0; c < margins.size(); ++c) {
    const double mean = margins[c], deviation = std::fabs(deviations[c]);
    if (deviation == 0.0) {
      margins[c] = std::min(mean, 0.0);
      continue;
    }
    const double at = mean / deviation;
    const double below = 0.5 * std::erfc(at / std::numbers::sqrt2);
    const double density =
        std::exp(-0.5 * at * at) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
    margins[c] = below > 0.001 ? mean - deviation * density / below : -3.0 * deviation;
  }
  return margins;
}

/// The overhaul of feature distillation: features before the ReLU are those of the teacher where it
/// is above 0, and not above it, or a margin, where it is below.
///
///     L_i = sum over channels and positions of
///       (s - t)^2 where t > 0;  else max(s - max(t, margin), 0)^2
///
/// Shapes    student, gradient (batch, channels, height, width): a Regressor makes its channels
///           those of the teacher, whose maps may be larger and are averaged down; margins
///           (channels)
/// Values    the mean over samples. The authors' weight is 0.001, halved with each layer before the
///           last
/// Errors    ShapeError; NumericError for what is not finite
/// Source    Heo et al., "A Comprehensive Overhaul of Feature Distillation", 2019, as mdistiller
///           has it
template <class T = float>
double overhaul_loss(LossInput<T, 4> student, LossInput<T, 4> teacher,
                     VectorView<const double> margins, const LossOptions& options = {},
                     LossGradient<T, 4> gradient = {}, const Execution& execution = {}) {
  detail::require_same_batch(student.extent(0), teacher.extent(0));
  detail::require_gradient_shape(gradient, student.shape());
  if (student.extent(1) != teacher.extent(1) || margins.size() != teacher.extent(1))
    throw ShapeError("maps of " + to_string(student.shape()) + ", the teacher's of " +
                     to_string(teacher.shape()) + " and " + std::to_string(margins.size()) +
                     " margins have not as many channels");
  (void)detail::feature_values(margins, "list of margins");
  const auto fs = detail::map_values(student, "student");
  const auto ft = detail::GridPooling(
      detail::grid_of(teacher), detail::grid_of(student))(detail::map_values(teacher, "teacher"));
  const auto batch = static_cast<double>(fs.extent(0));
  Tensor<double, 3> df(fs.shape());
  Vector<double> losses({fs.extent(0)});
  execution.parallel_for(fs.extent(0), [&](Index b) {
    for (Index c = 0; c < fs.extent(1); ++c)
      for (Index p = 0; p < fs.extent(2); ++p) {
        const double t = ft(b, c, p);
        const double difference = fs(b, c, p) - (t > 0.0 ? t : std::max(t, margins[c]));
        if (t <= 0.0 && difference <= 0.0) continue;
        losses[b] += difference * difference / batch;
        df(b, c, p) = 2.0 * difference / batch;
      }
  });
  double loss = 0.0;
  for (const double of_sample : losses) loss += of_sample;
  detail::put_map_gradients(df, options, gradient);
  return options.weight * loss;
}

}  // namespace pare
