#pragma once

#include <cmath>

#include "pare/distillation/feature_maps.hpp"

namespace pare {

struct AttentionTransferOptions {
  double power = 2.0;
  LossOptions common{};
};

/// Where a network looks: squared differences of maps of attention, the mean over channels of
/// |f|^p, of length 1 in each sample.
///
///     L = mean over samples and positions of (Q_s - Q_t)^2
///
/// Shapes    student and teacher (batch, channels, height, width), of any channels; the larger maps
/// are
///           averaged down to the smaller ones' size
/// Values    the paper's factor is 1000, since the mean is small
/// Errors    ShapeError; ArgumentError for a power below 1; NumericError for what is not finite
/// Source    Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017
template <class T = float>
double attention_transfer_loss(LossInput<T, 4> student, LossInput<T, 4> teacher,
                               const AttentionTransferOptions& options = {},
                               LossGradient<T, 4> gradient = {}, const Execution& execution = {}) {
  detail::require_same_batch(student.extent(0), teacher.extent(0));
  detail::require_gradient_shape(gradient, student.shape());
  if (!is_finite(options.power) || options.power < 1.0)
    throw ArgumentError("attention of power " + std::to_string(options.power) +
                        ": it must be a number from 1");
  const Shape<2> grid = detail::smaller_grid(detail::grid_of(student), detail::grid_of(teacher));
  const detail::GridPooling pool_s(detail::grid_of(student), grid);
  const detail::GridPooling pool_t(detail::grid_of(teacher), grid);
  const auto attention = [&](const Tensor<double, 3>& f) {
    Matrix<double> v({f.extent(0), f.extent(2)});
    execution.parallel_for(f.extent(0), [&](Index b) {
      for (Index c = 0; c < f.extent(1); ++c)
        for (Index p = 0; p < f.extent(2); ++p)
          v(b, p) +=
              std::pow(std::fabs(f(b, c, p)), options.power) / static_cast<double>(f.extent(1));
    });
    return v;
  };
  const auto fs = pool_s(detail::map_values(student, "student"));
  const detail::UnitRows qs(attention(fs));
  const detail::UnitRows qt(attention(pool_t(detail::map_values(teacher, "teacher"))));
  const auto count = static_cast<double>(qs.values().size());
  Matrix<double> dv(qs.values().shape());
  double loss = 0.0;
  for (Index i = 0; i < dv.size(); ++i) {
    const double difference = qs.values().data()[i] - qt.values().data()[i];
    loss += difference * difference / count;
    dv.data()[i] = 2.0 * difference / count;
  }
  qs.pull_back(dv);
  Tensor<double, 3> df(fs.shape());
  execution.parallel_for(fs.extent(0), [&](Index b) {
    for (Index c = 0; c < fs.extent(1); ++c)
      for (Index p = 0; p < fs.extent(2); ++p) {
        const double f = fs(b, c, p);
        df(b, c, p) = dv(b, p) * options.power / static_cast<double>(fs.extent(1)) *
                      std::pow(std::fabs(f), options.power - 1.0) * (f < 0.0 ? -1.0 : 1.0);
      }
  });
  detail::put_map_gradients(pool_s.pull_back(df), options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace pare
