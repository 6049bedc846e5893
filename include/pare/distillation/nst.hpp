#pragma once

#include "pare/distillation/feature_maps.hpp"

namespace pare {

/// Neuron selectivity: which positions channels respond to, compared as distributions by the
/// maximum mean discrepancy with the kernel (a.b)^2 of maps of length 1.
///
///     L = mean over samples of mean k(t, t) + mean k(s, s) - 2 mean k(s, t), means over pairs of
///     channels
///
/// Shapes    as attention_transfer_loss, and averaged as there
/// Errors    ShapeError; NumericError for what is not finite
/// Source    Huang and Wang, "Like What You Like", 2017
template <class T = float>
double nst_loss(LossInput<T, 4> student, LossInput<T, 4> teacher, const LossOptions& options = {},
                LossGradient<T, 4> gradient = {}, const Execution& execution = {}) {
  detail::require_same_batch(student.extent(0), teacher.extent(0));
  detail::require_gradient_shape(gradient, student.shape());
  const Shape<2> grid = detail::smaller_grid(detail::grid_of(student), detail::grid_of(teacher));
  const detail::GridPooling pool_s(detail::grid_of(student), grid);
  const detail::GridPooling pool_t(detail::grid_of(teacher), grid);
  const auto fs = pool_s(detail::map_values(student, "student"));
  const auto ft = pool_t(detail::map_values(teacher, "teacher"));
  const auto batch = static_cast<double>(fs.extent(0));
  const auto cs = static_cast<double>(fs.extent(1)), ct = static_cast<double>(ft.extent(1));
  Tensor<double, 3> df(fs.shape());
  Vector<double> losses({fs.extent(0)});
  const auto squares = [](const Matrix<double>& m) {
    double sum = 0.0;
    for (const double v : m) sum += v * v;
    return sum;
  };
  execution.parallel_for(fs.extent(0), [&](Index b) {
    const detail::UnitRows s(Matrix<double>(fs.view().row(b))), t(Matrix<double>(ft.view().row(b)));
    Matrix<double> ss = detail::product_with_transpose(s.values(), s.values());
    Matrix<double> st = detail::product_with_transpose(s.values(), t.values());
    const Matrix<double> tt = detail::product_with_transpose(t.values(), t.values());
    losses[b] =
        (squares(tt) / (ct * ct) + squares(ss) / (cs * cs) - 2.0 * squares(st) / (cs * ct)) / batch;
    Matrix<double> du(s.values().shape());
    gemm(4.0 / (cs * cs) / batch, ss, s.values(), du);
    gemm(-4.0 / (cs * ct) / batch, st, t.values(), du);
    s.pull_back(du);
    copy(du.view(), df.view().row(b));
  });
  double loss = 0.0;
  for (const double of_sample : losses) loss += of_sample;
  detail::put_map_gradients(pool_s.pull_back(df), options, gradient);
  return options.weight * loss;
}

}  // namespace pare
