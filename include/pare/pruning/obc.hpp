#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/config.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/prune_result.hpp"
#include "pare/pruning/refit.hpp"
#include "pare/pruning/selection.hpp"
#include "pare/solvers/symmetric_inverse.hpp"

namespace pare {

/// Layers of more inputs are refused: the cost grows with their third power for each row.
inline constexpr Index obc_inputs = 1024;

struct ObcOptions {
  /// Which weights go: a share of the matrix or of each row, of weights or of blocks of one row
  /// and some columns; or N:M.
  Selection selection{};
  /// lambda as a share of the mean of the diagonal.
  double damping = 0.0;
};

namespace detail {

/// One row of a layer that loses blocks of columns one after the other, the cheapest first. Blocks
/// that are left lie in front, so that the inverse shrinks.
class ObcRow {
 public:
  ObcRow(MatrixView<const double> inverse, Index block)
      : block_(block),
        blocks_(inverse.rows() / block),
        start_(inverse),
        inverse_(inverse.shape()) {}

  /// Removes `steps` blocks; `allowed(block)` says whether a block may go, `note(block, cost)` is
  /// told which went and by how much the squared error grew.
  template <class Allowed, class Note>
  void run(const double* w, Index steps, Allowed allowed, Note note) {
    copy(start_, inverse_.view());
    w_.assign(w, w + blocks_ * block_);
    at_.resize(static_cast<std::size_t>(blocks_));
    std::iota(at_.begin(), at_.end(), Index{0});
    for (Index left = blocks_, step = 0; step < steps; --left, ++step) {
      Index best = -1;
      double least = 0.0;
      for (Index p = 0; p < left; ++p) {
        const Index own = at_[static_cast<std::size_t>(p)];
        if (!allowed(own)) continue;
        const double cost = cost_of(p);
        if (best < 0 || cost < least ||
            (cost == least && own < at_[static_cast<std::size_t>(best)])) {
          best = p;
          least = cost;
        }
      }
      note(at_[static_cast<std::size_t>(best)], least);
      move_to_end(best, left - 1);
      remove_last(left - 1);
    }
  }

 private:
  /// Solves the block of the inverse at p for the weights there; leaves its Cholesky factor.
  double cost_of(Index p) {
    const Index first = p * block_;
    if (block_ == 1) {
      const double w = w_[static_cast<std::size_t>(first)];
      return w * w / std::max(inverse_(first, first), smallest);
    }
    factor_block(first);
    double cost = 0.0;
    for (Index k = 0; k < block_; ++k) {
      double sum = w_[static_cast<std::size_t>(first + k)];
      for (Index l = 0; l < k; ++l) sum -= factor(k, l) * solved_[static_cast<std::size_t>(l)];
      solved_[static_cast<std::size_t>(k)] = sum / factor(k, k);
      cost += solved_[static_cast<std::size_t>(k)] * solved_[static_cast<std::size_t>(k)];
    }
    return cost;
  }
  void factor_block(Index first) {
    factor_.resize(static_cast<std::size_t>(block_ * block_));
    solved_.resize(static_cast<std::size_t>(block_));
    for (Index k = 0; k < block_; ++k)
      for (Index l = 0; l <= k; ++l) {
        double sum = inverse_(first + k, first + l);
        for (Index m = 0; m < l; ++m) sum -= factor(k, m) * factor(l, m);
        factor(k, l) = l == k ? std::sqrt(std::max(sum, smallest)) : sum / factor(l, l);
      }
  }
  [[nodiscard]] double& factor(Index k, Index l) {
    return factor_[static_cast<std::size_t>(k * block_ + l)];
  }

  void move_to_end(Index p, Index last) {
    if (p == last) return;
    std::swap(at_[static_cast<std::size_t>(p)], at_[static_cast<std::size_t>(last)]);
    const Index n = (last + 1) * block_;
    for (Index k = 0; k < block_; ++k) {
      const Index a = p * block_ + k, b = last * block_ + k;
      std::swap(w_[static_cast<std::size_t>(a)], w_[static_cast<std::size_t>(b)]);
      std::swap_ranges(&inverse_(a, 0), &inverse_(a, 0) + n, &inverse_(b, 0));
    }
    for (Index i = 0; i < n; ++i)
      std::swap_ranges(&inverse_(i, p * block_), &inverse_(i, p * block_) + block_,
                       &inverse_(i, last * block_));
  }

  /// The weights of the last block, one after the other: w -= w_k / A_kk A_k:, A -= A_:k A_k: /
  /// A_kk in what lies before k.
  void remove_last(Index last) {
    for (Index k = (last + 1) * block_; k-- > last * block_;) {
      const double* const row = &inverse_(k, 0);
      const double pivot = std::max(row[k], smallest);
      subtract(w_.data(), w_[static_cast<std::size_t>(k)] / pivot, row, k);
      for (Index i = 0; i < k; ++i) subtract(&inverse_(i, 0), row[i] / pivot, row, k);
    }
  }
  /// to -= factor * from
  static void subtract(double* to, double factor, const double* from, Index count) {
    constexpr Index lanes = 4;
    Index j = 0;
    for (; j + lanes <= count; j += lanes) {
      double results[lanes];
      PARE_UNROLL
      for (Index l = 0; l < lanes; ++l) results[l] = to[j + l] - factor * from[j + l];
      PARE_UNROLL
      for (Index l = 0; l < lanes; ++l) to[j + l] = results[l];
    }
    for (; j < count; ++j) to[j] -= factor * from[j];
  }

  static constexpr double smallest = std::numeric_limits<double>::min();

  Index block_, blocks_;
  MatrixView<const double> start_;
  Matrix<double> inverse_;
  std::vector<double> w_, factor_, solved_;
  std::vector<Index> at_;
};

}  // namespace detail

/// In which order the rows of a layer lose all their weights to exact OBS, and what each step
/// costs: made once, pruned to any sparsity.
///
/// Source    Frantar and Alistarh, "Optimal Brain Compression", 2022
class ObcPath {
 public:
  /// Blocks of `block` neighbours in a row go as one. Throws as obc.
  ObcPath(MatrixView<const float> w, const Hessian& h, Index block = 1, double damping = 0.0,
          const Execution& execution = {});

  /// (rows, steps): by how much the squared error tr(dW H dWᵀ), damped, grows with each step. A
  /// weight that is zero, or whose input was always zero, goes first at cost 0.
  [[nodiscard]] const Matrix<double>& costs() const noexcept { return costs_; }
  /// (rows, steps): which block goes.
  [[nodiscard]] const Matrix<std::int32_t>& order() const noexcept { return order_; }

  /// The cheapest `count` of all recorded steps: as many as fall to a row are its first steps. Of
  /// equal ones those of the lowest row go first. Throws ArgumentError for more than there are.
  [[nodiscard]] PruneResult remove(Index count, const Execution& execution = {}) const;
  /// The same number of steps in each row.
  [[nodiscard]] PruneResult remove_in_each_row(Index count, const Execution& execution = {}) const;

 private:
  friend PruneResult obc(MatrixView<const float> w, const Hessian& h, const ObcOptions& options,
                         const Execution& execution);

  ObcPath(MatrixView<const float> w, const Hessian& h, Index block, double damping, Index keep,
          Index of, const Execution& execution);
  [[nodiscard]] PruneResult remove_steps(const std::vector<Index>& steps,
                                         const Execution& execution) const;

  Index block_;
  Matrix<float> w_;
  Matrix<double> h_, costs_;
  Matrix<std::int32_t> order_;
  std::vector<char> dead_;
  PruneReport damped_;
};

inline ObcPath::ObcPath(MatrixView<const float> w, const Hessian& h, Index block, double damping,
                        const Execution& execution)
    : ObcPath(w, h, block, damping, 0, 0, execution) {}

inline ObcPath::ObcPath(MatrixView<const float> w, const Hessian& h, Index block, double damping,
                        Index keep, Index of, const Execution& execution)
    : block_(block) {
  detail::require_fit(w.shape(), h);
  const Index rows = w.rows(), n = w.cols();
  if (n > obc_inputs)
    throw ArgumentError("exact OBS takes layers of up to " + std::to_string(obc_inputs) +
                        " inputs, not " + std::to_string(n) +
                        ": its time grows with their cube for each row");
  if (block < 1 || n % block != 0)
    throw ArgumentError("rows of " + std::to_string(n) + " weights do not divide into blocks of " +
                        std::to_string(block));
  require_finite(w, "weight");
  w_ = Matrix<float>(w);
  with_standard_floats(execution, [&](const Execution& standard) {
    h_ = h.matrix(standard);
    dead_ = detail::dead_columns(h_);
    const double mean = detail::mean_diagonal(h_, damping);
    for (Index j = 0; j < n; ++j)
      if (dead_[static_cast<std::size_t>(j)])
        for (Index i = 0; i < rows; ++i) w_(i, j) = 0.0f;
    Matrix<double> inverse({n, n});
    const auto used = detail::grow_damping({.damping = damping}, mean, [&](double lambda) {
      const auto fill = [&](Index i, double* row) {
        for (Index j = i; j < n; ++j) row[j] = h_(i, j);
        row[i] += dead_[static_cast<std::size_t>(i)] ? 1.0 : lambda;
      };
      return detail::symmetric_inverse_of<double>(fill, inverse, standard);
    });
    detail::note_damping(used, damped_);
    const Index blocks = n / block, steps = of == 0 ? blocks : n / of * (of - keep);
    costs_ = Matrix<double>({rows, steps});
    order_ = Matrix<std::int32_t>({rows, steps});
    // Each share has room of its own for an inverse.
    constexpr Index most_shares = 64;
    const Index shares = std::min(rows, most_shares);
    standard.parallel_for(shares, [&](Index share) {
      detail::ObcRow row(inverse, block);
      std::vector<double> weights(static_cast<std::size_t>(n));
      std::vector<Index> gone(static_cast<std::size_t>(of == 0 ? 0 : n / of));
      for (Index i = rows * share / shares; i < rows * (share + 1) / shares; ++i) {
        std::copy_n(&w_(i, 0), n, weights.begin());
        std::fill(gone.begin(), gone.end(), Index{0});
        Index step = 0;
        row.run(
            weights.data(), steps,
            [&](Index b) { return of == 0 || gone[static_cast<std::size_t>(b / of)] < of - keep; },
            [&](Index b, double cost) {
              costs_(i, step) = cost;
              order_(i, step++) = static_cast<std::int32_t>(b);
              if (of != 0) ++gone[static_cast<std::size_t>(b / of)];
            });
      }
    });
  });
}

inline PruneResult ObcPath::remove(Index count, const Execution& execution) const {
  if (count < 0 || count > costs_.size())
    throw ArgumentError(std::to_string(count) + " of " + std::to_string(costs_.size()) +
                        " weights or blocks are to be removed");
  std::vector<Index> order(static_cast<std::size_t>(costs_.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return costs_.data()[a] < costs_.data()[b]; });
  std::vector<Index> steps(static_cast<std::size_t>(costs_.rows()));
  for (Index k = 0; k < count; ++k)
    ++steps[static_cast<std::size_t>(order[static_cast<std::size_t>(k)] / costs_.cols())];
  return remove_steps(steps, execution);
}

inline PruneResult ObcPath::remove_in_each_row(Index count, const Execution& execution) const {
  if (count < 0 || count > costs_.cols())
    throw ArgumentError(std::to_string(count) + " of " + std::to_string(costs_.cols()) +
                        " weights or blocks of a row are to be removed");
  return remove_steps(std::vector<Index>(static_cast<std::size_t>(costs_.rows()), count),
                      execution);
}

inline PruneResult ObcPath::remove_steps(const std::vector<Index>& steps,
                                         const Execution& execution) const {
  Mask mask(w_.rows(), w_.cols());
  for (Index i = 0; i < w_.rows(); ++i)
    for (Index step = 0; step < steps[static_cast<std::size_t>(i)]; ++step)
      for (Index k = 0; k < block_; ++k) mask.set(i, order_(i, step) * block_ + k, false);
  // All steps of a row together are one least-squares problem.
  PruneResult result = with_standard_floats(execution, [&](const Execution& standard) {
    return detail::refit_on(w_, h_, dead_, mask, damped_.damping_used, standard);
  });
  result.report.factorizations += damped_.factorizations;
  return result;
}

/// Removes weights of each row one at a time by exact OBS: the one whose removal, made up for by
/// the others, costs least, again and again. How many go of each row follows from what their steps
/// cost.
///
/// Shapes    w (out_features, in_features) of up to 1,024 inputs
/// Values    of the matrix: the cheapest steps of all rows; in N:M a group that has lost M - N
///           weights is left alone. Weights of inputs that were always zero go first, at no cost.
///           The authors remove ceil(sparsity n): selection.rounding = CountRounding::up
/// Errors    ShapeError; ArgumentError for more inputs, blocks of several rows or that do not
/// divide
///           a row, a selection within a mask, and as select; NumericError naming a weight that is
///           not finite, or when the Hessian has no positive mean diagonal
/// Edge      where the Hessian is not positive definite, damping grows tenfold until it is
/// Accuracy  float64, rounded to float32 once
/// Cost      in_features^3 / 3 operations for each row
/// Order     independent of the number of threads
/// Source    Frantar and Alistarh, "Optimal Brain Compression", 2022, Alg. 1 and 2
[[nodiscard]] inline PruneResult obc(MatrixView<const float> w, const Hessian& h,
                                     const ObcOptions& options = {},
                                     const Execution& execution = {}) {
  const Selection& selection = options.selection;
  detail::require_valid(selection, w.shape());
  if (selection.within || selection.block_rows != 1)
    throw ArgumentError("exact OBS removes weights or blocks of one row, and not within a mask");
  if (selection.of != 0) {
    const ObcPath path(w, h, 1, options.damping, selection.keep, selection.of, execution);
    return path.remove_in_each_row(path.costs().cols(), execution);
  }
  const Index block =
      selection.block_cols == -1 ? std::max<Index>(1, w.cols()) : selection.block_cols;
  const ObcPath path(w, h, block, options.damping, execution);
  if (selection.scope == SelectionScope::row)
    return path.remove_in_each_row(detail::count_of(selection, path.costs().cols()), execution);
  return path.remove(detail::count_of(selection, path.costs().size()), execution);
}

}  // namespace pare
