#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/solvers/n_of_m.hpp"
#include "pare/solvers/obs_factor.hpp"
#include "pare/solvers/obs_sweep.hpp"
#include "pare/solvers/removed_count.hpp"
#include "pare/solvers/smallest_keys.hpp"

namespace pare {

/// Which weights a sweep removes.
struct ObsMaskOptions {
  /// The share of each block of columns.
  double sparsity = 0.5;
  CountRounding rounding = CountRounding::half_to_even;
  /// N:M, when `of` is not 0: of every `of` neighbours in a row `keep` stay, whatever the sparsity.
  Index keep = 0, of = 0;
  /// What is removed already stays removed, and counts as removed; null: nothing is.
  const Mask* within = nullptr;
  /// Exactly these stay, whatever the rest says; null: the sweep chooses.
  const Mask* support = nullptr;
};

/// Chooses during an OBS sweep which weights become zero: those whose removal costs least,
/// w^2 / U_jj^2, on the weights as the sweep has updated them so far. A share is taken of all rows
/// and one block of columns together, N:M group by group.
///
///     ObsMask mask(rows, factor, {.keep = 2, .of = 4});
///     MaskedRule rule(&mask, inner);
///     obs_sweep(w, factor.inverse().upper, rule, mask.sweep_options(), execution);
///
/// Errors    ShapeError for masks of another shape; ArgumentError for a sparsity outside [0, 1], a
///           pattern that is none or does not divide the columns, and N:M where columns are visited
///           in another order: neighbours are those of the file
/// Source    Frantar and Alistarh, "SparseGPT", 2023, Alg. 1
class ObsMask {
 public:
  ObsMask(Index rows, const ObsFactor& factor, const ObsMaskOptions& options = {})
      : factor_(&factor),
        options_(options),
        mask_(rows, factor.in_features()),
        pivots_({factor.in_features()}) {
    for (Index p = 0; p < pivots_.size(); ++p) pivots_[p] = factor.inverse().upper(p, p);
    (void)removed_count(0, options.sparsity);
    const auto require_fit = [&](const Mask* other) {
      if (other && other->shape() != mask_.shape())
        throw ShapeError("a mask of shape " + to_string(other->shape()) +
                         " does not fit the weight of shape " + to_string(mask_.shape()));
    };
    require_fit(options.within);
    require_fit(options.support);
    restart();
    if (options.of == 0) return;
    detail::require_n_of_m(options.keep, options.of, mask_.cols());
    if (factor.options().act_order)
      throw ArgumentError(
          "act_order visits columns in another order, and N:M means neighbours in a row");
  }

  /// Blocks and strips of about the usual size that groups of M fill.
  [[nodiscard]] ObsSweepOptions sweep_options(Index block_size = 128) const {
    ObsSweepOptions sweep{.block_size = block_size};
    if (options_.of == 0) return sweep;
    sweep.strip = std::max<Index>(1, sweep.strip / options_.of) * options_.of;
    sweep.block_size = std::max<Index>(1, block_size / sweep.strip) * sweep.strip;
    return sweep;
  }

  /// Forgets what a sweep has chosen.
  void restart() {
    if (options_.support)
      mask_ = *options_.support;
    else
      mask_ = options_.within ? *options_.within : Mask(mask_.rows(), mask_.cols());
  }

  /// What the rule of the sweep does before a block: see ColumnRule.
  void begin_block(MatrixView<const float> w, Index begin, Index end, const Execution& execution) {
    if (options_.support || options_.of != 0) return;
    using Key = detail::order_key_of<float>;
    const Index width = end - begin;
    Matrix<Key> keys({w.rows(), width});
    execution.parallel_for(w.rows(), [&](Index i) {
      Key* const own = &keys(i, 0);
      for (Index k = 0; k < width; ++k)
        own[k] = detail::order_key(cost(w(i, begin + k), begin + k));
      if (!options_.within) return;
      for (Index k = 0; k < width; ++k)
        if (!mask_(i, column(begin + k))) own[k] = detail::removed_key<Key>;
    });
    const Index count = removed_count(keys.size(), options_.sparsity, options_.rounding);
    const bool whole_words =
        begin % Mask::word_bits == 0 && (width % Mask::word_bits == 0 || end == mask_.cols());
    if (factor_->options().act_order || !whole_words || options_.within)
      return detail::for_each_smallest(
          keys, count, [&](Index i, Index k) { mask_.set(i, column(begin + k), false); },
          execution);
    detail::for_each_row_of_smallest(
        keys, count,
        [&](Index i, detail::SmallestKeys<Key> smallest) {
          const Key* const own = &keys(i, 0);
          detail::write_bits_without(
              smallest, [own](Index k) { return own[k]; }, i, begin, width, mask_);
        },
        execution);
  }

  /// The same before a column, with the block's next columns as ColumnRule has them.
  void begin_column(Index position, Index row, Index rows, const float* values) {
    if (options_.support || options_.of == 0 || position % options_.of != 0) return;
    using Key = detail::order_key_of<float>;
    detail::with_group<Key>(options_.of, [&](auto group) {
      for (Index l = 0; l < rows; ++l) {
        for (Index k = 0; k < options_.of; ++k)
          group.keys[static_cast<std::size_t>(k)] =
              mask_(row + l, position + k)
                  ? detail::order_key(cost(values[k * lane_count + l], position + k))
                  : detail::removed_key<Key>;
        group.rank();
        for (Index k = 0; k < options_.of; ++k)
          if (group.ahead[static_cast<std::size_t>(k)] >= static_cast<std::uint32_t>(options_.keep))
            mask_.set(row + l, position + k, false);
      }
    });
  }

  [[nodiscard]] bool keeps(Index position, Index row) const noexcept {
    return mask_(row, column(position));
  }
  /// After the sweep: what stays.
  [[nodiscard]] const Mask& mask() const noexcept { return mask_; }

 private:
  [[nodiscard]] Index column(Index position) const noexcept {
    return factor_->order()[static_cast<std::size_t>(position)];
  }
  [[nodiscard]] float cost(float w, Index position) const noexcept {
    const float share = w / pivots_[position];
    return share * share;
  }

  const ObsFactor* factor_;
  ObsMaskOptions options_;
  Mask mask_;
  Vector<float> pivots_;  ///< the diagonal of the factor, one after the other
};

/// A column rule that keeps zeros where the mask says so, and elsewhere what another rule keeps; it
/// is asked to keep a zero there, so that its codes say so, too. Without a mask it is that rule.
template <ColumnRule Inner>
class MaskedRule {
 public:
  MaskedRule(ObsMask* mask, Inner& inner) : mask_(mask), inner_(&inner) {}

  void begin_block(MatrixView<const float> w, Index begin, Index end, const Execution& execution) {
    if (mask_) mask_->begin_block(w, begin, end, execution);
    inner_->begin_block(w, begin, end, execution);
  }
  void keep(Index position, Index row, Index rows, const float* values, float* kept) {
    if (!mask_) return inner_->keep(position, row, rows, values, kept);
    mask_->begin_column(position, row, rows, values);
    float masked[lane_count] = {};
    for (Index l = 0; l < rows; ++l) masked[l] = mask_->keeps(position, row + l) ? values[l] : 0.0f;
    inner_->keep(position, row, rows, masked, kept);
  }

 private:
  ObsMask* mask_;
  Inner* inner_;
};

/// The column rule that changes nothing.
struct KeepValue {
  void begin_block(MatrixView<const float>, Index, Index, const Execution&) {}
  void keep(Index, Index, Index rows, const float* values, float* kept) {
    std::copy_n(values, rows, kept);
  }
};

}  // namespace pare
