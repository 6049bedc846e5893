#pragma once

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/pruning/prune_result.hpp"
#include "pare/solvers/damped_inverse.hpp"
#include "pare/solvers/symmetric_inverse.hpp"

namespace pare {

struct RefitOptions {
  /// lambda as a share of the mean of the diagonal: how dear it is to move a weight.
  double damping = 0.01;
};

namespace detail {

/// Adds what was used to a report of several matrices.
inline void note_damping(const UsedDamping& used, PruneReport& report) {
  report.factorizations += used.attempts;
  report.damping_used = std::max(report.damping_used, used.damping);
  report.lambda = std::max(report.lambda, used.lambda);
}

/// Rows of a mask in groups that are equal.
[[nodiscard]] inline std::vector<std::vector<Index>> equal_rows(const Mask& mask) {
  std::vector<Index> order(static_cast<std::size_t>(mask.rows()));
  std::iota(order.begin(), order.end(), Index{0});
  const auto words = [&](Index i) { return mask.row_words(i); };
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return std::lexicographical_compare(words(a).begin(), words(a).end(), words(b).begin(),
                                        words(b).end());
  });
  std::vector<std::vector<Index>> groups;
  for (const Index i : order) {
    const bool is_equal = !groups.empty() && std::equal(words(i).begin(), words(i).end(),
                                                        words(groups.back().front()).begin());
    if (!is_equal) groups.emplace_back();
    groups.back().push_back(i);
  }
  return groups;
}

/// Adds to the kept weights of w what makes up for the others, which it leaves alone:
///     dw_S = w_R H_RS (H_SS + lambda I)^-1
/// Both halves of h are meant. Adds to the report.
inline void compensate_on_support(MatrixView<double> w, MatrixView<const double> h,
                                  const Mask& mask, double damping, PruneReport& report,
                                  const Execution& execution) {
  const Index rows = w.rows(), n = w.cols();
  const double mean = mean_diagonal(h, damping);
  Matrix<double> removed({rows, n}), pull({rows, n});
  execution.parallel_for(rows, [&](Index i) {
    for (Index j = 0; j < n; ++j) removed(i, j) = mask(i, j) ? 0.0 : w(i, j);
  });
  gemm(1.0, removed, h, pull, execution);
  const auto groups = equal_rows(mask);
  std::vector<UsedDamping> used(groups.size());
  const auto solve = [&](std::size_t g, const Execution& inside) {
    const std::vector<Index>& group = groups[g];
    std::vector<Index> kept;
    for (Index j = 0; j < n; ++j)
      if (mask(group.front(), j)) kept.push_back(j);
    const auto k = static_cast<Index>(kept.size()), m = static_cast<Index>(group.size());
    if (k == 0) return;
    const auto column = [&](Index p) { return kept[static_cast<std::size_t>(p)]; };
    const auto row = [&](Index p) { return group[static_cast<std::size_t>(p)]; };
    Matrix<double> u({k, k}), x({m, k});
    used[g] = grow_damping({.damping = damping}, mean, [&](double lambda) {
      const auto fill = [&](Index i, double* to) {
        for (Index j = i; j < k; ++j) to[j] = h(column(i), column(j));
        to[i] += lambda;
      };
      return inverse_factor_in_place(fill, u, inside);
    });
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < k; ++j) x(i, j) = pull(row(i), column(j));
    apply_inverse(u, x, inside);
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < k; ++j) w(row(i), column(j)) += x(i, j);
  };
  // Few systems are solved by all threads one after the other, many by one thread each.
  constexpr std::size_t few = 4;
  if (groups.size() < few) {
    for (std::size_t g = 0; g < groups.size(); ++g) solve(g, execution);
  } else {
    execution.parallel_for(static_cast<Index>(groups.size()), [&](Index g) {
      solve(static_cast<std::size_t>(g), {.force = execution.force});
    });
  }
  for (const UsedDamping& own : used) note_damping(own, report);
}

/// tr(E h Eᵀ).
[[nodiscard]] inline double quadratic_form(MatrixView<const double> e, MatrixView<const double> h,
                                           const Execution& execution) {
  Matrix<double> product(e.shape());
  gemm(1.0, e, h, product, execution);
  double sum = 0.0;
  for (Index i = 0; i < e.rows(); ++i)
    for (Index j = 0; j < e.cols(); ++j) sum += e(i, j) * product(i, j);
  return std::max(0.0, sum);
}

/// The target rounded where it is kept and compensated for the rest, with losses in the report.
/// Columns of `dead` become zero.
[[nodiscard]] inline PruneResult refit_on(MatrixView<const float> target,
                                          MatrixView<const double> h, const std::vector<char>& dead,
                                          const Mask& mask, double damping,
                                          const Execution& execution) {
  const Index rows = target.rows(), n = target.cols();
  PruneResult result{Matrix<float>({rows, n}), mask, {}};
  Matrix<double> w({rows, n}), error({rows, n});
  Mask support = mask;
  for (Index j = 0; j < n; ++j) {
    if (!dead[static_cast<std::size_t>(j)]) continue;
    ++result.report.dead_inputs;
    for (Index i = 0; i < rows; ++i) support.set(i, j, false);
  }
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < n; ++j)
      if (!dead[static_cast<std::size_t>(j)]) {
        w(i, j) = static_cast<double>(target(i, j));
        error(i, j) = mask(i, j) ? 0.0 : w(i, j);
      }
  result.report.loss_before = quadratic_form(error, h, execution);
  compensate_on_support(w, h, support, damping, result.report, execution);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < n; ++j) {
      if (dead[static_cast<std::size_t>(j)]) continue;
      if (mask(i, j)) result.weight(i, j) = static_cast<float>(w(i, j));
      error(i, j) = static_cast<double>(target(i, j)) - static_cast<double>(result.weight(i, j));
    }
  require_finite(result.weight, "refitted weight");
  result.report.loss = quadratic_form(error, h, execution);
  return result;
}

inline void require_fit(const Shape<2>& weight, const Hessian& h) {
  if (weight[1] != h.in_features())
    throw ShapeError("a layer of shape " + to_string(weight) + " does not fit a Hessian of " +
                     std::to_string(h.in_features()) + " inputs");
}

}  // namespace detail

/// The weights on a given support that change the output of a layer least: least squares, each row
/// by itself.
///
///     min over w_S of (t - w) H (t - w)ᵀ + lambda |t_S - w_S|^2:  w_S = t_S + t_R H_RS (H_SS +
///     lambda I)^-1, S what the mask keeps of a row, R the rest
///
/// Shapes    target t (out_features, in_features), the weights before pruning; mask the same
/// Values    weights of inputs that were always zero become zero. The loss is at most that of the
///           masked target
/// Errors    ShapeError; ArgumentError for a negative damping; NumericError naming a weight that is
///           not finite, and when the diagonal of the Hessian has no positive mean
/// Edge      where H_SS is not positive definite, damping grows tenfold until it is
/// Accuracy  float64, rounded to float32 once
/// Cost      k^3 for each support of k weights; rows with the same one share it. Of large layers
///           whose rows differ this is much: alps refines by conjugate gradients instead
/// Order     independent of the number of threads
/// Source    least squares; as "weight reconstruction" in He et al., "Channel Pruning for
///           Accelerating Very Deep Neural Networks", 2017
[[nodiscard]] inline PruneResult refit(MatrixView<const float> target, const Hessian& h,
                                       const Mask& mask, const RefitOptions& options = {},
                                       const Execution& execution = {}) {
  detail::require_fit(target.shape(), h);
  if (mask.shape() != target.shape())
    throw ShapeError("a mask of shape " + to_string(mask.shape()) +
                     " does not fit the weight of shape " + to_string(target.shape()));
  require_finite(target, "weight");
  return with_standard_floats(execution, [&](const Execution& standard) {
    const Matrix<double> matrix = h.matrix(standard);
    return detail::refit_on(target, matrix, detail::dead_columns(matrix), mask, options.damping,
                            standard);
  });
}

struct ConsumerRefit {
  Matrix<float> weight;  ///< (out_features, kept)
  /// What is added to the bias, (out_features); empty where no mean was given.
  Vector<float> bias_change;
  PruneReport report;
};

/// The weights of a layer whose input lost channels, so that its output stays that of the dense
/// layer: least squares over the channels that are left and, where the mean of the input is given,
/// over the bias.
///
///     min over v, b of the mean over tokens of |W x - V x_K - b|^2
///
/// Shapes    w (out_features, in_features) and a Hessian of the input before channels were removed;
///           kept: ascending channels; mean_input (in_features) or empty
/// Values    the loss counts the best bias where the mean is given, and none otherwise; loss_before
///           is that of the removed channels' weights left out, with its best bias too
/// Errors    ShapeError; ArgumentError unless channels ascend within the input, and for a negative
///           damping; NumericError for what is not finite
/// Accuracy  float64, rounded to float32 once
/// Order     independent of the number of threads
/// Source    He et al., "Channel Pruning for Accelerating Very Deep Neural Networks", 2017; the
///           bias of the removed channels' mean: An et al., "FLAP", 2024
[[nodiscard]] inline ConsumerRefit refit_consumer(MatrixView<const float> w, const Hessian& h,
                                                  std::span<const Index> kept,
                                                  VectorView<const float> mean_input = {},
                                                  const RefitOptions& options = {},
                                                  const Execution& execution = {}) {
  detail::require_fit(w.shape(), h);
  const Index rows = w.rows(), n = w.cols();
  if (mean_input.size() != 0 && mean_input.size() != n)
    throw ShapeError("a mean of " + std::to_string(mean_input.size()) +
                     " channels does not fit an input of " + std::to_string(n));
  Mask mask(rows, n, false);
  for (std::size_t p = 0; p < kept.size(); ++p) {
    if (kept[p] < 0 || kept[p] >= n || (p > 0 && kept[p] <= kept[p - 1]))
      throw ArgumentError("kept channels ascend within an input of " + std::to_string(n) + "; " +
                          std::to_string(kept[p]) + " does not");
    for (Index i = 0; i < rows; ++i) mask.set(i, kept[p], true);
  }
  require_finite(w, "weight");
  for (Index j = 0; j < mean_input.size(); ++j)
    if (!is_finite(static_cast<double>(mean_input[j])))
      throw NumericError("the mean of input " + std::to_string(j) + " is not finite");

  return with_standard_floats(execution, [&](const Execution& standard) {
    Matrix<double> matrix = h.matrix(standard);
    const std::vector<char> dead = detail::dead_columns(matrix);
    const bool has_mean = mean_input.size() != 0;
    const auto mean = [&](Index j) { return static_cast<double>(mean_input[j]); };
    if (has_mean)
      standard.parallel_for(n, [&](Index i) {
        for (Index j = 0; j < n; ++j) matrix(i, j) -= 2.0 * mean(i) * mean(j);
        matrix(i, i) = std::max(matrix(i, i), 0.0);
      });
    const PruneResult refitted = detail::refit_on(w, matrix, dead, mask, options.damping, standard);
    ConsumerRefit result{Matrix<float>({rows, std::ssize(kept)}),
                         Vector<float>({has_mean ? rows : 0}), refitted.report};
    for (Index i = 0; i < rows; ++i) {
      for (Index p = 0; p < std::ssize(kept); ++p)
        result.weight(i, p) = refitted.weight(i, kept[static_cast<std::size_t>(p)]);
      if (!has_mean) continue;
      double change = 0.0;
      for (Index j = 0; j < n; ++j)
        change +=
            (static_cast<double>(w(i, j)) - static_cast<double>(refitted.weight(i, j))) * mean(j);
      result.bias_change[i] = static_cast<float>(change);
    }
    return result;
  });
}

}  // namespace pare
