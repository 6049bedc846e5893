#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/quantization/quantize.hpp"
#include "pare/solvers/damped_inverse.hpp"
#include "pare/solvers/obs_row.hpp"

namespace pare {

/// What happened on the way.
struct ObqReport {
  double damping = 0.0;   ///< the fraction of the mean diagonal that was added in the end
  int attempts = 0;       ///< factorizations: more than one when the damping had to grow
  Index dead_inputs = 0;  ///< inputs that were always zero; their weights are zeroed
  double loss = 0.0;      ///< tr(dW (H + damping) dWᵀ), the sum of what the steps cost
};

struct ObqOptions {
  /// How parameters of blocks are found, before any weight is rounded.
  QuantizeOptions quantize{};
  /// lambda as a share of the mean of the diagonal.
  double damping = 0.0;
  ObqReport* report = nullptr;
};

namespace detail {

/// How far apart the values of a block's codes are.
template <Format F>
class CodeSteps {
 public:
  explicit CodeSteps(const typename F::Parameters& parameters) {
    if constexpr (F::is_integer) {
      largest_ = static_cast<double>(parameters.scale);
    } else {
      for (int code = 0; code < code_count<F>(); ++code) {
        const auto value = static_cast<double>(
            F::decode(from_stored<F>(static_cast<std::uint8_t>(code)), parameters));
        if (is_finite(value)) values_.push_back(value);
      }
      std::sort(values_.begin(), values_.end());
      values_.erase(std::unique(values_.begin(), values_.end()), values_.end());
      for (std::size_t k = 1; k < values_.size(); ++k)
        largest_ = std::max(largest_, values_[k] - values_[k - 1]);
    }
  }

  /// No weight inside the range is farther from its nearest value.
  [[nodiscard]] double largest_error() const noexcept { return 0.5 * largest_; }
  /// The step in which the weight lies, as a share of the largest one.
  [[nodiscard]] double share_at(double weight) const noexcept {
    if (values_.size() < 3) return 1.0;
    const auto above = std::upper_bound(values_.begin() + 1, values_.end() - 1, weight);
    return (*above - *(above - 1)) / largest_;
  }

 private:
  double largest_ = 0.0;
  std::vector<double> values_;  ///< ascending; none where all steps are equal
};

inline void require_obq(MatrixView<const float> w, const Hessian& h) {
  if (h.in_features() != w.cols())
    throw ShapeError("a Hessian of " + std::to_string(h.in_features()) +
                     " inputs does not fit the weight of shape " + to_string(w.shape()));
  require_obc_inputs(w.cols());
  require_finite(w, "weight");
}

/// Codes of a row of q, whose parameters are there; returns what they cost.
template <Format F>
[[nodiscard]] double obq_row(ObsRow& row, Index i, const std::vector<CodeSteps<F>>& steps,
                             QuantizedMatrix<F>& q) {
  const auto group = [&](Index j) { return q.group_of(j); };
  const auto encode = [&](Index p) {
    return F::encode(static_cast<float>(row.weight(p)), q.parameters()(i, group(row.block_at(p))));
  };
  const auto decode = [&](typename F::Code code, Index p) {
    const auto& parameters = q.parameters()(i, group(row.block_at(p)));
    return static_cast<double>(rounded(F::decode(code, parameters)));
  };
  double loss = 0.0;
  while (row.left() > 0) {
    Index outlier = -1;
    double farthest = 0.0;
    const auto best = row.cheapest([&](Index p) {
      const double weight = row.weight(p), error = std::fabs(weight - decode(encode(p), p));
      const CodeSteps<F>& own = steps[static_cast<std::size_t>(group(row.block_at(p)))];
      if (error > farthest && error > own.largest_error()) {
        farthest = error;
        outlier = p;
      }
      const double relative = error / own.share_at(weight);
      return relative * relative / row.pivot(p);
    });
    const Index p = outlier >= 0 ? outlier : best.position;
    const auto code = encode(p);
    const double value = decode(code, p), error = row.weight(p) - value;
    q.codes()(i, row.block_at(p)) = code;
    loss += error * error / row.pivot(p);
    row.fix(p, value);
  }
  return loss;
}

}  // namespace detail

/// Quantizes each row of a layer one weight at a time by exact OBS: the one whose rounding, made up
/// for by those that are left, costs least, again and again. A weight that the others have moved
/// out of the range of its codes goes at once. What GPTQ does faster, in one order for all rows.
/// It loses less than GPTQ where codes have equal steps and inputs are of about one size, about as
/// much with NF4. Where inputs differ much, the dear weights are left to the end with nothing to
/// make up for them, and GPTQ does better.
///
///     min over codes of tr((W - Q) H (W - Q)ᵀ),  H = (2 / tokens) xᵀ x
///
/// Shapes    w (out_features, in_features) of up to 1,024 inputs; q of the same shape, with its
///           parameters, of whatever blocks, which stay: only codes change
/// Values    weights of inputs that were always zero become zero; what q's codes were does not
///           matter
/// Errors    ShapeError; ArgumentError for more inputs or a negative damping; NumericError naming a
///           weight that is not finite, or when the Hessian has no positive mean diagonal
/// Edge      where the Hessian is not positive definite, damping grows tenfold until it is
/// Accuracy  float64; a weight is rounded to float32 before it is encoded
/// Cost      in_features^3 / 3 operations and in_features^2 / 2 encoded weights for each row
/// Order     independent of the number of threads
/// Source    Frantar and Alistarh, "Optimal Brain Compression", 2022, section 5 (OBQ). Departs:
///           where codes have unequal steps, errors count in units of the step that the weight is
///           in
template <Format F>
void obq(MatrixView<const float> w, const Hessian& h, QuantizedMatrix<F>& q,
         const ObqOptions& options = {}, const Execution& execution = {}) {
  const Index rows = w.rows(), n = w.cols();
  detail::require_obq(w, h);
  if (q.rows() != rows || q.cols() != n)
    throw ShapeError("parameters of a matrix of shape " + to_string(Shape<2>{q.rows(), q.cols()}) +
                     " do not fit the weight of shape " + to_string(w.shape()));
  with_standard_floats(execution, [&](const Execution& standard) {
    const Matrix<double> matrix = h.matrix(standard);
    const std::vector<char> dead = detail::dead_columns(matrix);
    const detail::DampedInverse damped =
        detail::damped_inverse(matrix, dead, options.damping, standard);
    Vector<double> losses({rows});
    const auto quantize_row = [&](detail::ObsRow& row, Index i) {
      std::vector<float> weights(static_cast<std::size_t>(n));
      for (Index j = 0; j < n; ++j)
        weights[static_cast<std::size_t>(j)] = dead[static_cast<std::size_t>(j)] ? 0.0f : w(i, j);
      std::vector<detail::CodeSteps<F>> steps;
      for (Index g = 0; g < q.groups(); ++g) steps.emplace_back(q.parameters()(i, g));
      row.restart(weights.data());
      losses[i] = detail::obq_row<F>(row, i, steps, q);
    };
    detail::for_each_obs_row(rows, damped.inverse, 1, quantize_row, standard.parallel_for);
    if (!options.report) return;
    double loss = 0.0;
    for (Index i = 0; i < rows; ++i) loss += losses[i];
    *options.report = {damped.used.damping, damped.used.attempts,
                       std::count(dead.begin(), dead.end(), 1), loss};
  });
}

/// The same with the parameters that quantize finds; weights of inputs that were always zero count
/// as zeros there. Throws as quantize, too.
template <Format F>
[[nodiscard]] QuantizedMatrix<F> obq(MatrixView<const float> w, const Hessian& h,
                                     const ObqOptions& options = {},
                                     const Execution& execution = {}) {
  detail::require_obq(w, h);
  Matrix<float> alive(w);
  const Vector<double> diagonal = h.diagonal();
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j)
      if (diagonal[j] == 0.0) alive(i, j) = 0.0f;
  QuantizedMatrix<F> q = quantize<F>(alive, options.quantize, execution);
  obq(alive, h, q, options, execution);
  return q;
}

}  // namespace pare
