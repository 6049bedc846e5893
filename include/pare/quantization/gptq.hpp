#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/lane_round.hpp"
#include "pare/quantization/gptq_options.hpp"
#include "pare/quantization/row_quantizer.hpp"
#include "pare/quantization/shared_blocks.hpp"
#include "pare/solvers/obs_factor.hpp"
#include "pare/solvers/obs_sweep.hpp"

namespace pare {

namespace detail {

/// The column rule of GPTQ: a weight keeps the value of its nearest code.
template <Format F>
class NearestCode {
 public:
  /// Without `fit_in_blocks` all parameters of `q` are there already.
  NearestCode(QuantizedMatrix<F>& q, std::span<const std::int32_t> order, const RangeOptions& range,
              const TensorParameters<F>& tensor, bool fit_in_blocks, const Execution& execution)
      : q_(q),
        codes_(q.codes()),
        parameters_(q.parameters()),
        order_(order),
        tensor_(tensor),
        fitter_{kernels::elementwise_kernel(execution.force), range, kernels::Store::cached,
                &raised_},
        fit_in_blocks_(fit_in_blocks),
        round_(select_lane_round(execution)),
        scales_({q.groups(), round_up(q.rows(), lane_count)}),
        zero_points_(scales_.shape()) {
    scales_.fill(1.0f);
  }

  /// Parameters of the groups that begin in the block, on w as previous blocks left it.
  void begin_block(MatrixView<const float> w, Index begin, Index end, const Execution& execution) {
    if (!fit_in_blocks_) return;
    const Index length = q_.group_length();
    const Index first = ceil_div(begin, length), last = ceil_div(end, length);
    execution.parallel_for(w.rows(), [&](Index i) {
      for (Index g = first; g < last; ++g) {
        const Index column = g * length;
        fit(i, g, &w(i, column), std::min(length, w.cols() - column));
      }
    });
  }

  void keep(Index position, Index row, Index rows, const float* values, float* kept) {
    const Index column = order_[static_cast<std::size_t>(position)];
    const Index g = fit_in_blocks_ ? position / q_.group_length() : q_.group_of(column);
    typename F::Code* const codes = &codes_(row, column);
    const Index stride = codes_.stride(0);
    if constexpr (F::is_integer) {
      constexpr int lo = -F::code_offset, hi = code_count<F>() - 1 - F::code_offset;
      alignas(tensor_alignment_bytes) std::int32_t rounded[lane_count];
      round_(values, {&scales_(g, row), &zero_points_(g, row), lo, hi}, rounded, kept);
      for (Index l = 0; l < rows; ++l)
        codes[l * stride] = static_cast<typename F::Code>(rounded[l]);
    } else {
      for (Index l = 0; l < rows; ++l) {
        const auto& parameters = parameters_(row + l, g);
        const auto code = F::encode(values[l], parameters);
        codes[l * stride] = code;
        kept[l] = rounded(F::decode(code, parameters));
      }
    }
  }

  /// From weights without gaps.
  void fit(Index i, Index g, const float* weights, Index count) {
    const auto parameters = fitter_.template fit<F>(weights, count, q_.scale_type(), tensor_);
    if (!parameters || !is_usable<F>(*parameters)) {
      fits_.store(false);
      return;
    }
    parameters_(i, g) = *parameters;
    spread(i, g);
  }

  /// The same for blocks that are more than a part of a row, from all weights.
  void fit_blocks(MatrixView<const float> w, const Execution& execution, QuantizedMatrix<F>& q) {
    if (detail::fit_blocks(w, fitter_, tensor_, execution, q) != RowResult::done)
      return fits_.store(false);
    for (Index i = 0; i < q.rows(); ++i)
      for (Index g = 0; g < q.groups(); ++g) spread(i, g);
  }

  /// False when a scale did not fit the storage type: the codes are worthless then.
  [[nodiscard]] bool fits() const { return fits_; }
  /// See RowQuantizer::raised.
  [[nodiscard]] Index raised() const { return raised_; }

 private:
  void spread(Index i, Index g) {
    if constexpr (F::is_integer) {
      scales_(g, i) = parameters_(i, g).scale;
      zero_points_(g, i) = F::zero_point(parameters_(i, g));
    }
  }

  const QuantizedMatrix<F>& q_;
  MatrixView<typename F::Code> codes_;
  MatrixView<typename F::Parameters> parameters_;
  std::span<const std::int32_t> order_;
  std::atomic<Index> raised_ = 0;
  TensorParameters<F> tensor_;
  RowQuantizer fitter_;
  bool fit_in_blocks_;
  LaneRound round_;
  /// Of the parameters, group by group: rows side by side.
  Matrix<float> scales_;
  Matrix<std::int32_t> zero_points_;
  std::atomic<bool> fits_ = true;
};

/// What is pruned and quantized at once has zeros that stay zeros.
template <Format F>
void require_exact_zero() {
  const Matrix<float> w(MatrixView<const float>(std::array{-1.0f, 0.0f, 1.0f}.data(), {1, 3}));
  const auto tensor = tensor_parameters<F>(w, {}, ScaleType::f32, {});
  const auto parameters = block_parameters<F>(w.data(), 3, 1, {}, ScaleType::f32, tensor);
  if (F::decode(F::encode(0.0f, parameters), parameters) != 0.0f)
    throw ArgumentError("the format " + std::string(F::name) +
                        " has no exact zero: prune first, or choose another format");
}

struct GptqSweep {
  double loss = 0.0;
  Index scales_raised = 0;
};

/// Codes of `w` with the scale type of `q`; nothing when a scale did not fit.
template <Format F>
std::optional<GptqSweep> gptq_codes(MatrixView<const float> w, const ObsFactor& factor,
                                    const GptqOptions& options, const Execution& execution,
                                    QuantizedMatrix<F>& q) {
  const bool shared = !q.blocks().is_in_row();
  const bool whole_rows = !shared && q.group_size() == -1;
  const bool fit_in_blocks = !shared && !whole_rows && !options.static_groups;
  const auto tensor = tensor_parameters<F>(w, options.range, q.scale_type(), execution);
  NearestCode<F> rule(q, factor.order(), options.range, tensor, fit_in_blocks, execution);
  if (shared) {
    Matrix<float> alive(w);
    for (Index i = 0; i < w.rows(); ++i)
      for (Index j = 0; j < w.cols(); ++j)
        if (factor.is_dead(j)) alive(i, j) = 0.0f;
    rule.fit_blocks(alive, execution, q);
    if (!rule.fits()) return {};
  }
  Matrix<float> visited({w.rows(), w.cols()});
  execution.parallel_for(w.rows(), [&](Index i) {
    Vector<float> row(w.row(i));
    const auto fit_groups = [&] {
      for (Index g = 0; g < q.groups(); ++g) {
        const Index column = g * q.group_length();
        rule.fit(i, g, &row[column], std::min(q.group_length(), row.size() - column));
      }
    };
    // Whole rows are fitted with the weights of dead inputs, groups without: as the authors' code.
    if (whole_rows) fit_groups();
    for (Index j = 0; j < row.size(); ++j)
      if (factor.is_dead(j)) row[j] = 0.0f;
    if (!shared && !whole_rows && options.static_groups) fit_groups();
    for (Index p = 0; p < row.size(); ++p)
      visited(i, p) = row[factor.order()[static_cast<std::size_t>(p)]];
  });
  if (!rule.fits()) return {};
  if (options.mask) options.mask->restart();
  // One rule for both: the sweep is compiled once for each format.
  MaskedRule masked(options.mask, rule);
  const ObsSweepOptions sweep = options.mask ? options.mask->sweep_options(options.block_size)
                                             : ObsSweepOptions{.block_size = options.block_size};
  const double loss = obs_sweep(visited, factor.inverse().upper, masked, sweep, execution);
  if (!rule.fits()) return {};
  if (options.act_order && fit_in_blocks) {
    std::vector<std::int32_t> index(factor.order().size());
    for (std::size_t p = 0; p < index.size(); ++p)
      index[static_cast<std::size_t>(factor.order()[p])] =
          static_cast<std::int32_t>(static_cast<Index>(p) / q.group_length());
    q.set_group_index(index);
  }
  return GptqSweep{loss, rule.raised()};
}

}  // namespace detail

/// Quantizes a linear layer so that its outputs, not its weights, change least.
///
///     min over codes of tr((W - Q) H (W - Q)ᵀ),  H = (2 / tokens) xᵀ x
///
/// Columns are rounded one after the other; those not yet rounded make up for the error. Dead
/// inputs (H_jj = 0) get H_jj = 1 and weight 0.
///
/// Shapes    w (rows, n), any strides; a Hessian of n inputs
/// Errors    ShapeError; ArgumentError for group, range options, block size or damping, and for a
///           factor made with another damping or order;
///           NumericError naming a weight that is not finite, and as inverse_factor
/// Edge      damping grows until the factorization succeeds (see the report). With act_order and
///           groups but without static_groups, groups follow the visiting order and the result
///           has a group index. Scales that do not fit their type: all in F32, as quantize
/// Accuracy  the Hessian is factored in float64; weights, errors and updates are float32; codes
///           and error feedback use the scales as stored
/// Order     independent of the number of threads
/// Source    Frantar et al., "GPTQ", 2022, and the authors' code. Departs: a symmetric group with
///           no negative weight is scaled by its absmax like any other
template <Format F>
[[nodiscard]] QuantizedMatrix<F> gptq(MatrixView<const float> w, const ObsFactor& factor,
                                      const GptqOptions& options = {},
                                      const Execution& execution = {}) {
  if (factor.in_features() != w.cols())
    throw ShapeError("a Hessian of " + std::to_string(factor.in_features()) +
                     " inputs does not fit the weight of shape " + to_string(w.shape()));
  if (factor.options() != options.factor())
    throw ArgumentError("the Hessian was factored with another damping or column order");
  detail::require_valid(options.range);
  require_finite(w, "weight");
  if (options.mask) {
    if (options.mask->mask().shape() != w.shape())
      throw ShapeError("a mask of shape " + to_string(options.mask->mask().shape()) +
                       " does not fit the weight of shape " + to_string(w.shape()));
    detail::require_exact_zero<F>();
  }
  const BlockShape blocks = detail::block_shape(options.group_size, options.blocks);
  const ScaleType wanted = options.scale_type.value_or(default_scale_type<F>(blocks.cols));
  QuantizedMatrix<F> q(w.rows(), w.cols(), blocks, wanted);

  const auto sweep = [&] {
    return with_standard_floats(execution, [&](const Execution& standard) {
      return detail::gptq_codes(w, factor, options, standard, q);
    });
  };
  std::optional<detail::GptqSweep> result = sweep();
  const bool widened = !result;
  if (widened) {
    q = QuantizedMatrix<F>(w.rows(), w.cols(), blocks, ScaleType::f32);
    result = sweep();
  }
  if (!result) detail::throw_no_usable<F>();
  if (options.report)
    *options.report = {.damping = factor.inverse().damping_used,
                       .attempts = factor.inverse().attempts,
                       .dead_inputs = factor.dead_inputs(),
                       .loss = result->loss,
                       .scales_widened = widened,
                       .scales_raised = result->scales_raised};
  return q;
}

/// The same for a layer that shares its input with no other.
template <Format F>
[[nodiscard]] QuantizedMatrix<F> gptq(MatrixView<const float> w, const Hessian& h,
                                      const GptqOptions& options = {},
                                      const Execution& execution = {}) {
  if (h.in_features() != w.cols())
    throw ShapeError("a Hessian of " + std::to_string(h.in_features()) +
                     " inputs does not fit the weight of shape " + to_string(w.shape()));
  detail::require_valid(options.range);
  require_finite(w, "weight");
  // What is wrong with the group size should show before the work begins.
  static_cast<void>(detail::group_count(
      w.cols(), detail::checked_group_size(detail::block_shape(options.group_size, options.blocks),
                                           w.rows(), w.cols())));
  return gptq<F>(w, ObsFactor(h, options.factor(), execution), options, execution);
}

}  // namespace pare
