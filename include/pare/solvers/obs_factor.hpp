#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/solvers/inverse_factor.hpp"

namespace pare {

struct ObsFactorOptions {
  /// Fraction of the Hessian's mean diagonal that is added to the diagonal; it grows until the
  /// factorization succeeds.
  double damping = 0.01;
  /// Visit the columns by falling diagonal of the Hessian.
  bool act_order = false;

  friend bool operator==(const ObsFactorOptions&, const ObsFactorOptions&) = default;
};

/// All of GPTQ and SparseGPT that follows from the Hessian alone. Layers that share an input (q, k
/// and v; gate and up) share its factor: it costs as much as the sweep over a square layer. Dead
/// inputs (H_jj = 0) get H_jj = 1.
class ObsFactor {
 public:
  /// Throws as inverse_factor.
  explicit ObsFactor(const Hessian& h, const ObsFactorOptions& options = {},
                     const Execution& execution = {});

  [[nodiscard]] Index in_features() const noexcept { return static_cast<Index>(order_.size()); }
  /// The column visited at each position.
  [[nodiscard]] std::span<const std::int32_t> order() const noexcept { return order_; }
  /// True for a column whose input was always zero.
  [[nodiscard]] bool is_dead(Index column) const {
    return dead_[static_cast<std::size_t>(column)] != 0;
  }
  [[nodiscard]] Index dead_inputs() const { return std::count(dead_.begin(), dead_.end(), 1); }
  /// Of the Hessian in visiting order.
  [[nodiscard]] const InverseFactor& inverse() const noexcept { return inverse_; }
  [[nodiscard]] const ObsFactorOptions& options() const noexcept { return options_; }

 private:
  std::vector<std::int32_t> order_;
  std::vector<char> dead_;
  InverseFactor inverse_;
  ObsFactorOptions options_;
};

inline ObsFactor::ObsFactor(const Hessian& h, const ObsFactorOptions& options,
                            const Execution& execution)
    : order_(static_cast<std::size_t>(h.in_features())), dead_(order_.size()), options_(options) {
  const MatrixView<const double> sums = h.upper_sums();
  const double scale = h.scale();
  const Index n = h.in_features();
  std::iota(order_.begin(), order_.end(), 0);
  Vector<double> diagonal = h.diagonal();
  for (Index j = 0; j < n; ++j)
    if (diagonal[j] == 0.0) {
      dead_[static_cast<std::size_t>(j)] = 1;
      diagonal[j] = 1.0;
    }
  const auto invert = [&](VectorView<const double> visited, auto from) {
    inverse_ = with_standard_floats(execution, [&](const Execution& standard) {
      return detail::inverse_factor_of(visited, from, {.damping = options.damping}, standard);
    });
  };
  const auto from_row = [&](Index i, double* row) {
    for (Index j = i; j < n; ++j) row[j] = sums(i, j) * scale;
  };
  if (!options.act_order) {
    invert(diagonal, from_row);
    return;
  }
  std::stable_sort(order_.begin(), order_.end(),
                   [&](std::int32_t a, std::int32_t b) { return diagonal[a] > diagonal[b]; });
  Vector<double> visited({n});
  for (Index p = 0; p < n; ++p) visited[p] = diagonal[order_[static_cast<std::size_t>(p)]];
  const auto from_visited = [&](Index i, double* row) {
    const Index visited_row = order_[static_cast<std::size_t>(i)];
    for (Index j = i; j < n; ++j) {
      const Index column = order_[static_cast<std::size_t>(j)];
      row[j] = sums(std::min(visited_row, column), std::max(visited_row, column)) * scale;
    }
  };
  invert(visited, from_visited);
}

}  // namespace pare
