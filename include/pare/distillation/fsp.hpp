#pragma once

#include "pare/distillation/feature_maps.hpp"

namespace pare {

/// Gradients of the two stages of a flow: views of their shapes, or {}.
template <class T>
struct FspGradients {
  LossGradient<T, 4> first{}, second{};
};

/// The flow of the solution procedure: how the channels of one stage go with those of the next, G =
/// F1 F2ᵀ / positions, compared by squared differences.
///
///     L = mean over samples and pairs of channels of (G_s - G_t)^2
///
/// Shapes    stages (batch, channels, height, width) of as many channels for student and teacher;
/// the
///           first is averaged down to the second's size
/// Errors    ShapeError; NumericError for what is not finite
/// Source    Yim et al., "A Gift from Knowledge Distillation", 2017
template <class T = float>
double fsp_loss(LossInput<T, 4> student_first, LossInput<T, 4> student_second,
                LossInput<T, 4> teacher_first, LossInput<T, 4> teacher_second,
                const LossOptions& options = {}, const FspGradients<T>& gradients = {},
                const Execution& execution = {}) {
  detail::require_same_batch(student_first.extent(0), student_second.extent(0));
  detail::require_same_batch(student_first.extent(0), teacher_first.extent(0));
  detail::require_same_batch(student_first.extent(0), teacher_second.extent(0));
  if (student_first.extent(1) != teacher_first.extent(1) ||
      student_second.extent(1) != teacher_second.extent(1))
    throw ShapeError("stages of " + to_string(student_first.shape()) + " and " +
                     to_string(student_second.shape()) +
                     " have not as many channels as the teacher's");
  detail::require_gradient_shape(gradients.first, student_first.shape());
  detail::require_gradient_shape(gradients.second, student_second.shape());
  const auto pooling = [](const auto& first, const auto& second) {
    return detail::GridPooling(detail::grid_of(first), detail::grid_of(second));
  };
  const detail::GridPooling pool = pooling(student_first, student_second);
  const auto f1 = pool(detail::map_values(student_first, "student"));
  const auto f2 = detail::map_values(student_second, "student");
  const auto t1 =
      pooling(teacher_first, teacher_second)(detail::map_values(teacher_first, "teacher"));
  const auto t2 = detail::map_values(teacher_second, "teacher");
  const auto flow = [](const Tensor<double, 3>& a, const Tensor<double, 3>& b, Index sample) {
    Matrix<double> g({a.extent(1), b.extent(1)});
    gemm(1.0 / static_cast<double>(a.extent(2)), a.view().row(sample),
         b.view().row(sample).transposed(), g);
    return g;
  };
  const auto count = static_cast<double>(f1.extent(0) * f1.extent(1) * f2.extent(1));
  const double scale = 2.0 / count / static_cast<double>(f1.extent(2));
  Tensor<double, 3> d1(f1.shape()), d2(f2.shape());
  Vector<double> losses({f1.extent(0)});
  execution.parallel_for(f1.extent(0), [&](Index b) {
    Matrix<double> e = flow(f1, f2, b);
    const Matrix<double> wanted = flow(t1, t2, b);
    for (Index i = 0; i < e.size(); ++i) {
      e.data()[i] -= wanted.data()[i];
      losses[b] += e.data()[i] * e.data()[i] / count;
    }
    gemm(scale, e, f2.view().row(b), d1.view().row(b));
    gemm(scale, e.view().transposed(), f1.view().row(b), d2.view().row(b));
  });
  double loss = 0.0;
  for (const double of_sample : losses) loss += of_sample;
  detail::put_map_gradients(pool.pull_back(d1), options, gradients.first);
  detail::put_map_gradients(d2, options, gradients.second);
  return options.weight * loss;
}

}  // namespace pare
