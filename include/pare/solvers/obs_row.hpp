#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/core/error.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

/// Exact OBS on a row: its weights take their final values, zero (OBC) or that of a code (OBQ), one
/// after the other in an order of its own, and those that are left make up for each.
namespace pare {

/// Layers of more inputs are refused: the cost grows with their third power for each row.
inline constexpr Index obc_inputs = 1024;

namespace detail {

inline void require_obc_inputs(Index n) {
  if (n > obc_inputs)
    throw ArgumentError("exact OBS takes layers of up to " + std::to_string(obc_inputs) +
                        " inputs, not " + std::to_string(n) +
                        ": its time grows with their cube for each row");
}

/// Weights in blocks of neighbours that go together. The blocks that are left lie at positions
/// [0, left()), so that the inverse shrinks.
///
/// Source    Frantar and Alistarh, "Optimal Brain Compression", 2022, Lemma 1
class ObsRow {
 public:
  explicit ObsRow(MatrixView<const double> inverse, Index block = 1)
      : block_(block),
        blocks_(inverse.rows() / block),
        start_(inverse),
        inverse_(inverse.shape()) {}

  void restart(const float* w) {
    copy(start_, inverse_.view());
    w_.assign(w, w + blocks_ * block_);
    at_.resize(static_cast<std::size_t>(blocks_));
    std::iota(at_.begin(), at_.end(), Index{0});
  }

  [[nodiscard]] Index left() const noexcept { return std::ssize(at_); }
  /// Which block is there.
  [[nodiscard]] Index block_at(Index p) const noexcept { return at_[static_cast<std::size_t>(p)]; }
  /// The first weight of the block, as the others have changed it, and its element of the inverse's
  /// diagonal.
  [[nodiscard]] double weight(Index p) const noexcept {
    return w_[static_cast<std::size_t>(p * block_)];
  }
  [[nodiscard]] double pivot(Index p) const noexcept {
    return std::max(inverse_(p * block_, p * block_), smallest);
  }
  /// By how much the squared error grows when the block becomes zero.
  [[nodiscard]] double removal_cost(Index p) {
    const Index first = p * block_;
    if (block_ == 1) {
      const double w = weight(p);
      return w * w / pivot(p);
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

  struct Choice {
    Index position = -1;
    double cost = 0.0;
  };
  /// Where cost(p) is least, of equal ones the lowest block; one that may not be chosen has a
  /// negative cost.
  template <class Cost>
  [[nodiscard]] Choice cheapest(Cost cost) const {
    Choice best;
    for (Index p = 0; p < left(); ++p) {
      const double own = cost(p);
      if (own < 0.0) continue;
      if (best.position < 0 || own < best.cost ||
          (own == best.cost && block_at(p) < block_at(best.position)))
        best = {p, own};
    }
    return best;
  }

  /// The weights of the block become `kept` for good.
  void fix(Index p, double kept = 0.0) {
    const Index last = left() - 1;
    move_to_end(p, last);
    fix_last(last, kept);
    at_.pop_back();
  }

 private:
  /// Leaves the Cholesky factor of a block of the inverse.
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

  /// The weights of the last block, one after the other: w -= (w_k - kept) / A_kk A_k:,
  /// A -= A_:k A_k: / A_kk in what lies before k.
  void fix_last(Index last, double kept) {
    for (Index k = (last + 1) * block_; k-- > last * block_;) {
      const double* const row = &inverse_(k, 0);
      const double divisor = std::max(row[k], smallest);
      subtract(w_.data(), (w_[static_cast<std::size_t>(k)] - kept) / divisor, row, k);
      for (Index i = 0; i < k; ++i) subtract(&inverse_(i, 0), row[i] / divisor, row, k);
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

/// f(row, i) for rows i < `rows`, with an ObsRow that is the caller's until the next one; those of
/// a share have one room for an inverse.
template <class F>
void for_each_obs_row(Index rows, MatrixView<const double> inverse, Index block, F f,
                      const ParallelFor& parallel_for) {
  constexpr Index most_shares = 64;
  const Index shares = std::min(rows, most_shares);
  parallel_for(shares, [&](Index share) {
    ObsRow row(inverse, block);
    for (Index i = rows * share / shares; i < rows * (share + 1) / shares; ++i) f(row, i);
  });
}

}  // namespace detail
}  // namespace pare
