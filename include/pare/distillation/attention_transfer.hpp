#pragma once

#include <cmath>

#include "pare/distillation/feature_maps.hpp"

namespace pare {

struct AttentionTransferOptions {
  double power = 2.0;
  LossOptions common{};
};

namespace detail {

/// Differences of maps of attention, squared or `absolute`.
template <class T>
double map_attention_loss(TensorView<const T, 4> student, TensorView<const T, 4> teacher,
                          const AttentionTransferOptions& options, bool absolute,
                          TensorView<T, 4> gradient, const Execution& execution) {
  require_same_batch(student.extent(0), teacher.extent(0));
  require_gradient_shape(gradient, student.shape());
  if (!is_finite(options.power) || options.power < 1.0)
    throw ArgumentError("attention of power " + std::to_string(options.power) +
                        ": it must be a number from 1");
  const Shape<2> grid = smaller_grid(grid_of(student), grid_of(teacher));
  const GridPooling pool_s(grid_of(student), grid);
  const GridPooling pool_t(grid_of(teacher), grid);
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
  const auto fs = pool_s(map_values(student, "student"));
  const UnitRows qs(attention(fs));
  const UnitRows qt(attention(pool_t(map_values(teacher, "teacher"))));
  const auto count = static_cast<double>(qs.values().size());
  Matrix<double> dv(qs.values().shape());
  double loss = 0.0;
  for (Index i = 0; i < dv.size(); ++i) {
    const double difference = qs.values().data()[i] - qt.values().data()[i];
    const double sign = difference > 0.0 ? 1.0 : difference < 0.0 ? -1.0 : 0.0;
    loss += (absolute ? std::fabs(difference) : difference * difference) / count;
    dv.data()[i] = (absolute ? sign : 2.0 * difference) / count;
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
  put_map_gradients(pool_s.pull_back(df), options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace detail

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
  return detail::map_attention_loss<T>(student, teacher, options, false, gradient, execution);
}

/// Factor transfer: the same between factors, what a paraphraser makes of the teacher's maps and a
/// translator of the student's, with absolute differences.
///
///     L = mean over samples and positions of |Q_s - Q_t|
///
/// Shapes, errors as attention_transfer_loss
/// Values    RepDistiller's, whose weight is 200; the paper compares all of a factor, of length 1,
///           not its mean over channels
/// Edge      where both are equal the subgradient 0
/// Source    Kim et al., "Paraphrasing Complex Network: Network Compression via Factor Transfer",
///           2018
template <class T = float>
double factor_transfer_loss(LossInput<T, 4> student, LossInput<T, 4> teacher,
                            const AttentionTransferOptions& options = {},
                            LossGradient<T, 4> gradient = {}, const Execution& execution = {}) {
  return detail::map_attention_loss<T>(student, teacher, options, true, gradient, execution);
}

}  // namespace pare
