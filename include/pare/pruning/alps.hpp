#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/lanes.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/pruning/prune_result.hpp"
#include "pare/pruning/support.hpp"
#include "pare/solvers/growing_damping.hpp"
#include "pare/solvers/symmetric_inverse.hpp"

namespace pare {

/// What AlpsProblem uses.
struct AlpsProblemOptions {
  /// lambda as a share of the mean of the diagonal.
  double damping = 0.01;
  /// The first penalty for weights that leave their support.
  double rho = 0.1;
  /// Memory for inverses with other penalties: layers that share the problem mostly go through the
  /// same ones. The first that fit are remembered.
  Index remembered_bytes = Index{1} << 28;
};

/// All of ALPS that follows from the Hessian alone: layers that share an input (q, k and v; gate
/// and up) share it.
///
///     G = diag(d)^-1 (H + lambda I) diag(d)^-1,  d = sqrt(diag(H + lambda I))
///
/// Memory    2 in_features^2 floats, and what its options let it remember. Copies remember together
/// Threads   layers may be pruned concurrently
class AlpsProblem {
 public:
  /// Errors  ArgumentError for a negative damping or a rho that is not positive; NumericError when
  ///         the Hessian has no positive mean diagonal; as Hessian::scale
  /// Edge    where G + rho I is not positive definite, damping grows tenfold until it is
  explicit AlpsProblem(const Hessian& h, const AlpsProblemOptions& options = {},
                       const Execution& execution = {});

  [[nodiscard]] Index in_features() const noexcept { return scaled_.rows(); }
  /// G.
  [[nodiscard]] MatrixView<const float> scaled() const noexcept { return scaled_; }
  /// inverse(G + rho I) for the rho of the options.
  [[nodiscard]] MatrixView<const float> inverse() const noexcept { return inverse_; }
  /// d.
  [[nodiscard]] VectorView<const double> scales() const noexcept { return scales_; }
  [[nodiscard]] bool is_dead(Index column) const {
    return dead_[static_cast<std::size_t>(column)] != 0;
  }
  [[nodiscard]] Index dead_inputs() const { return std::count(dead_.begin(), dead_.end(), 1); }
  [[nodiscard]] double rho() const noexcept { return rho_; }
  [[nodiscard]] double damping_used() const noexcept { return damping_used_; }
  [[nodiscard]] double lambda() const noexcept { return lambda_; }

  /// inverse(G + rho I) for another rho. Returns false when that is not positive definite.
  [[nodiscard]] bool invert(double rho, MatrixView<float> inverse,
                            const Execution& execution = {}) const;
  /// The same, remembered where there is room; null when it is not positive definite.
  [[nodiscard]] std::shared_ptr<const Matrix<float>> inverse_for(
      double rho, const Execution& execution = {}) const;

 private:
  struct Remembered {
    std::mutex mutex;
    std::vector<std::pair<double, std::shared_ptr<const Matrix<float>>>> inverses;  ///< by rho
  };

  Matrix<float> scaled_, inverse_;
  Vector<double> scales_;
  std::vector<char> dead_;
  double rho_, damping_used_ = 0.0, lambda_ = 0.0;
  Index remembered_bytes_;
  std::shared_ptr<Remembered> remembered_ = std::make_shared<Remembered>();
};

inline AlpsProblem::AlpsProblem(const Hessian& h, const AlpsProblemOptions& options,
                                const Execution& execution)
    : scaled_({h.in_features(), h.in_features()}),
      inverse_(scaled_.shape()),
      scales_({h.in_features()}),
      dead_(static_cast<std::size_t>(h.in_features())),
      rho_(options.rho),
      remembered_bytes_(options.remembered_bytes) {
  const DampingOptions growth{.damping = options.damping};
  detail::require_damping(growth);
  if (!(options.rho > 0.0) || !is_finite(options.rho))
    throw ArgumentError("the penalty rho is " + std::to_string(options.rho) + ", not positive");
  const Index n = in_features();
  const MatrixView<const double> sums = h.upper_sums();
  const double scale = h.scale();
  require_finite_upper(sums, "the Hessian");
  const Vector<double> diagonal = h.diagonal();
  for (Index j = 0; j < n; ++j) dead_[static_cast<std::size_t>(j)] = diagonal[j] == 0.0;
  const double mean = detail::mean_of_diagonal(diagonal);
  if (n == 0) return;
  const auto used = detail::grow_damping(growth, mean, [&](double lambda) {
    for (Index j = 0; j < n; ++j) {
      const double damped = diagonal[j] + lambda;
      if (!(damped > 0.0 || is_dead(j))) return false;
      scales_[j] = damped > 0.0 ? std::sqrt(damped) : 1.0;
    }
    execution.parallel_for(n, [&](Index i) {
      for (Index j = i + 1; j < n; ++j)
        scaled_(i, j) = static_cast<float>(sums(i, j) * scale / (scales_[i] * scales_[j]));
      scaled_(i, i) = 1.0f;
    });
    mirror_upper<float>(scaled_, execution);
    return with_standard_floats(
        execution, [&](const Execution& standard) { return invert(rho_, inverse_, standard); });
  });
  damping_used_ = used.damping;
  lambda_ = used.lambda;
}

inline bool AlpsProblem::invert(double rho, MatrixView<float> inverse,
                                const Execution& execution) const {
  const Index n = in_features();
  if (inverse.shape() != scaled_.shape())
    throw ShapeError("an inverse of shape " + to_string(inverse.shape()) + " does not fit " +
                     std::to_string(n) + " inputs");
  const auto fill = [&](Index i, double* row) {
    for (Index j = i; j < n; ++j) row[j] = static_cast<double>(scaled_(i, j));
    row[i] += rho;
  };
  return detail::symmetric_inverse_of<float>(fill, inverse, execution);
}

inline std::shared_ptr<const Matrix<float>> AlpsProblem::inverse_for(
    double rho, const Execution& execution) const {
  auto& inverses = remembered_->inverses;
  const auto find = [&] {
    return std::find_if(inverses.begin(), inverses.end(),
                        [&](const auto& own) { return own.first == rho; });
  };
  {
    const std::lock_guard lock(remembered_->mutex);
    if (const auto own = find(); own != inverses.end()) return own->second;
  }
  auto inverse = std::make_shared<Matrix<float>>(scaled_.shape());
  if (!invert(rho, *inverse, execution)) return nullptr;
  const std::lock_guard lock(remembered_->mutex);
  const Index bytes = scaled_.size() * Index{sizeof(float)};
  if (find() == inverses.end() && bytes * (std::ssize(inverses) + 1) <= remembered_bytes_)
    inverses.emplace_back(rho, inverse);
  return inverse;
}

struct AlpsOptions {
  /// Which weights go: a share of the matrix or of each row, or N:M.
  Selection selection{};
  int max_iterations = 300;
  int conjugate_gradient_steps = 10;
};

namespace detail {

/// The iterations of ALPS on one layer, in the scaled space where G has a diagonal of ones.
///
/// With Z = B + V / rho a step is D = Z on the support and V = rho Z off it: one matrix holds both.
/// And (G + rho I)^-1 (G W - V + rho D) = W + (G + rho I)^-1 (rho (D - W) - V): the product is with
/// what is small, so that float32 suffices.
class AlpsSolver {
 public:
  AlpsSolver(MatrixView<const float> w, const AlpsProblem& problem, const AlpsOptions& options,
             const Execution& execution)
      : problem_(problem),
        options_(options),
        execution_(execution),
        rows_(w.rows()),
        cols_(w.cols()),
        selector_(w.shape(), options.selection, execution.parallel_for),
        w_(w.shape()),
        b_(w.shape()),
        state_(w.shape()),
        z_(w.shape()),
        mask_(w.rows(), w.cols()) {
    execution.parallel_for(rows_, [&](Index i) {
      for (Index j = 0; j < cols_; ++j)
        w_(i, j) = problem.is_dead(j)
                       ? 0.0f
                       : static_cast<float>(static_cast<double>(w(i, j)) * problem.scales()[j]);
    });
  }

  [[nodiscard]] PruneResult solve() {
    iterate();
    // The support of B, and its values there.
    selector_.select(
        b_, mask_, [](Index) {}, [&](Index i) { keep_row(i, &b_(i, 0), &b_(i, 0)); });
    report_.loss_before = report_.loss = loss();
    if (options_.conjugate_gradient_steps > 0) {
      refine();
      report_.loss = loss();
    }
    PruneResult result{std::move(z_), std::move(mask_), report_};
    execution_.parallel_for(rows_, [&](Index i) {
      for (Index j = 0; j < cols_; ++j)
        result.weight(i, j) =
            static_cast<float>(static_cast<double>(b_(i, j)) / problem_.scales()[j]);
    });
    require_finite(result.weight, "pruned weight");
    return result;
  }

 private:
  /// Copies what the mask keeps of a row.
  void keep_row(Index i, const float* from, float* to) const {
    transform_masked(mask_, i, from, from, to,
                     [](std::uint32_t kept, float x, float) { return where(kept, x); });
  }

  void iterate() {
    const auto nothing = [](Index) {};
    const auto start = [&](Index i) { keep_row(i, &w_(i, 0), &state_(i, 0)); };
    selector_.select(w_, mask_, nothing, start);
    const Mask first = mask_;
    Mask compared = mask_;
    const auto kept = static_cast<double>(mask_.kept());
    b_ = w_;
    if (mask_.kept() == 0 || mask_.removed() == 0) return;  // there is nothing to choose
    rho_ = problem_.rho();
    MatrixView<const float> inverse = problem_.inverse();
    std::shared_ptr<const Matrix<float>> own;
    bool has_risen = false;
    for (int step = 0; step < options_.max_iterations; ++step) {
      advance(inverse);
      report_.iterations = step + 1;
      if ((step + 1) % steps_between_checks != 0) continue;
      const auto moved = static_cast<double>(changed(mask_, compared));
      if (moved == 0.0 && has_risen) break;
      compared = mask_;
      if (moved > 0.1 * kept)
        rho_ *= 1.3;
      else if (moved > 0.005 * kept)
        rho_ *= 1.2;
      else if (moved > 0.0 && has_risen)
        rho_ *= 1.1;
      else
        rho_ /= 5.0;
      rho_ = std::min(rho_, largest_rho);
      has_risen = has_risen || moved > 0.005 * kept;
      if (step >= steps_before_settled && moved < 0.0003 * kept) break;
      if (moved > 0.0 && !has_risen) {
        mask_ = first;
        execution_.parallel_for(rows_, start);
      }
      if (step + 1 == options_.max_iterations) break;
      ++report_.factorizations;
      own.reset();
      own = problem_.inverse_for(rho_, execution_);
      if (!own) break;  // rho has become too small
      inverse = own->view();
    }
  }

  /// B, D and V of the next iteration.
  void advance(MatrixView<const float> inverse) {
    const auto rho = static_cast<float>(rho_), by_rho = static_cast<float>(1.0 / rho_);
    execution_.parallel_for(rows_, [&](Index i) {
      const float *const w = &w_(i, 0), *const state = &state_(i, 0);
      std::copy_n(w, cols_, &b_(i, 0));
      transform_masked(mask_, i, state, w, &z_(i, 0), [=](std::uint32_t kept, float s, float x) {
        return rho * (where(kept, s) - x) - where(~kept, s);
      });
    });
    gemm(1.0f, z_, inverse, b_, execution_);
    selector_.select(
        z_, mask_,
        [&](Index i) {
          transform_masked(
              mask_, i, &b_(i, 0), &state_(i, 0), &z_(i, 0),
              [=](std::uint32_t kept, float b, float s) { return b + by_rho * where(~kept, s); });
        },
        [&](Index i) {
          transform_masked(mask_, i, &z_(i, 0), &z_(i, 0), &state_(i, 0),
                           [=](std::uint32_t kept, float z, float) {
                             return where(kept, z) + rho * where(~kept, z);
                           });
        });
  }

  /// z = (W - B) G; returns tr(dW H dWᵀ) without damping.
  [[nodiscard]] double loss() {
    execution_.parallel_for(rows_, [&](Index i) {
      std::transform(&w_(i, 0), &w_(i, 0) + cols_, &b_(i, 0), &state_(i, 0),
                     [](float w, float b) { return w - b; });
      std::fill_n(&z_(i, 0), cols_, 0.0f);
    });
    gemm(1.0f, state_, problem_.scaled(), z_, execution_);
    Vector<double> losses({rows_});
    execution_.parallel_for(rows_, [&](Index i) {
      double damped = 0.0;
      for (Index j = 0; j < cols_; ++j) {
        const double unscaled = static_cast<double>(state_(i, j)) / problem_.scales()[j];
        damped += unscaled * unscaled;
      }
      losses[i] = dot(&state_(i, 0), &z_(i, 0), cols_) - problem_.lambda() * damped;
    });
    double total = 0.0;
    for (Index i = 0; i < rows_; ++i) total += losses[i];
    return std::max(0.0, total);
  }

  /// Conjugate gradients for B_S G_SS = W G_S, each row with step lengths of its own. Begins with
  /// what loss() left.
  void refine() {
    Matrix<float>&residual = z_, &direction = state_;
    Matrix<float> product(w_.shape());
    Vector<double> squares({rows_});
    execution_.parallel_for(rows_, [&](Index i) {
      keep_row(i, &residual(i, 0), &residual(i, 0));
      std::copy_n(&residual(i, 0), cols_, &direction(i, 0));
      squares[i] = dot(&residual(i, 0), &residual(i, 0), cols_);
    });
    for (int step = 0; step < options_.conjugate_gradient_steps; ++step) {
      execution_.parallel_for(rows_, [&](Index i) { std::fill_n(&product(i, 0), cols_, 0.0f); });
      gemm(1.0f, direction, problem_.scaled(), product, execution_);
      execution_.parallel_for(rows_, [&](Index i) {
        float *const r = &residual(i, 0), *const p = &direction(i, 0), *const b = &b_(i, 0);
        const float* const q = &product(i, 0);
        const double curvature = dot(p, q, cols_);
        if (!(curvature > 0.0) || squares[i] == 0.0) {
          std::fill_n(p, cols_, 0.0f);
          squares[i] = 0.0;
          return;
        }
        const auto length = static_cast<float>(squares[i] / curvature);
        transform(b, p, cols_, b, [&](float x, float y) { return x + length * y; });
        transform_masked(mask_, i, r, q, r, [=](std::uint32_t kept, float x, float y) {
          return where(kept, x - length * y);
        });
        const double before = squares[i];
        squares[i] = dot(r, r, cols_);
        const auto turn = static_cast<float>(squares[i] / before);
        transform(r, p, cols_, p, [&](float x, float y) { return x + turn * y; });
      });
      ++report_.conjugate_gradient_steps;
    }
  }

  static constexpr int steps_between_checks = 3, steps_before_settled = 30;
  static constexpr double largest_rho = 1e6;

  const AlpsProblem& problem_;
  const AlpsOptions& options_;
  const Execution& execution_;
  Index rows_, cols_;
  SupportSelector selector_;
  Matrix<float> w_;      ///< W diag(d)
  Matrix<float> b_;      ///< B
  Matrix<float> state_;  ///< D on the support, V off it
  Matrix<float> z_;      ///< the right side, then Z
  Mask mask_;
  double rho_ = 0.0;
  PruneReport report_;
};

}  // namespace detail

/// Multiply-adds of alps: what a caller divides by the speed of its products to know the time.
[[nodiscard]] inline double alps_multiply_adds(Index rows, Index in_features, int iterations,
                                               const AlpsOptions& options = {}) {
  const auto m = static_cast<double>(rows), n = static_cast<double>(in_features);
  const double products = iterations + options.conjugate_gradient_steps + 2;
  // A factorization is in float64, at half the speed.
  return products * m * n * n + iterations / 3.0 * (2.0 / 3.0 + 1.0 / 6.0) * n * n * n;
}

/// Prunes a layer so that its output changes least: alternating directions find the support, then
/// conjugate gradients the weights on it.
///
///     minimize tr((W - B) H (W - B)ᵀ) with B = D, D sparse; in the space where G has a diagonal of
///     ones (AlpsProblem), repeat
///         B = (G W - V + rho D) (G + rho I)^-1;  D = largest of B + V / rho;  V += rho (B - D)
///
/// rho grows every third iteration, the slower the fewer weights of D changed places: 1.3, 1.2
/// (at most a tenth of what is kept), 1.1 times (0.5 %). While it never grew, it is a fifth
/// instead, and the iteration starts again when anything changed. It ends when nothing changes,
/// after 30 iterations when less than 0.03 % does. Then B keeps its support and is refined on it.
///
///     const AlpsProblem problem(hessian);              // once for q, k and v
///     const PruneResult pruned = alps(q, problem, {.selection = {.sparsity = 0.7}});
///
/// Shapes    w (out_features, in_features)
/// Values    as many are kept as the selection says; of equal magnitudes the lowest
///           index is removed first, in N:M it is kept. Inputs that were always zero lose their
///           weights; where more are to be kept than others there are, zeros count as kept
/// Errors    ShapeError; ArgumentError as select, and for blocks or a selection within a mask;
///           NumericError naming a weight that is not finite, and for results that overflow
/// Accuracy  products in float32, factorizations in float64
/// Cost      alps_multiply_adds; memory of 5 (out, in) and 2 to 5 (in, in) float matrices
///           beside what the problem remembers
/// Order     independent of the number of threads
/// Source    Meng et al., "ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large
///           Language Models", 2024, and the schedule of the authors' code. Departs: G + rho I is
///           factored anew where the authors decompose G into eigenvectors once
[[nodiscard]] inline PruneResult alps(MatrixView<const float> w, const AlpsProblem& problem,
                                      const AlpsOptions& options = {},
                                      const Execution& execution = {}) {
  if (w.cols() != problem.in_features())
    throw ShapeError("a layer of shape " + to_string(w.shape()) + " does not fit a Hessian of " +
                     std::to_string(problem.in_features()) + " inputs");
  if (options.max_iterations < 0 || options.conjugate_gradient_steps < 0)
    throw ArgumentError("ALPS cannot do a negative number of iterations");
  detail::require_support(options.selection, w.shape());
  require_finite(w, "weight");
  if (w.empty()) return {Matrix<float>(w.shape()), Mask(w.rows(), w.cols()), {}};
  PruneResult result = with_standard_floats(execution, [&](const Execution& standard) {
    return detail::AlpsSolver(w, problem, options, standard).solve();
  });
  result.report.damping_used = problem.damping_used();
  result.report.lambda = problem.lambda();
  result.report.dead_inputs = problem.dead_inputs();
  return result;
}

/// The same for a layer that shares its input with no other.
[[nodiscard]] inline PruneResult alps(MatrixView<const float> w, const Hessian& h,
                                      const AlpsOptions& options = {},
                                      const Execution& execution = {}) {
  return alps(w, AlpsProblem(h, {.remembered_bytes = 0}, execution), options, execution);
}

}  // namespace pare
