#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/lanes.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/solvers/n_of_m.hpp"
#include "pare/solvers/obs_factor.hpp"
#include "pare/solvers/obs_sweep.hpp"
#include "pare/solvers/removed_count.hpp"
#include "pare/solvers/smallest_keys.hpp"
#include "pare/solvers/smallest_values.hpp"

namespace pare {

namespace detail {

/// Eight rows of eight bits, a byte each, as eight columns.
[[nodiscard]] constexpr std::uint64_t transposed_bits(std::uint64_t rows) noexcept {
  // Squares of one, two and four bits on either side of the diagonal change places.
  const auto swap = [&](int distance, std::uint64_t upper) {
    const std::uint64_t changed = (rows ^ rows >> distance) & upper;
    rows ^= changed ^ changed << distance;
  };
  swap(7, 0x00aa00aa00aa00aau);
  swap(14, 0x0000cccc0000ccccu);
  swap(28, 0x00000000f0f0f0f0u);
  return rows;
}

}  // namespace detail

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
        pivots_({factor.in_features()}),
        kernel_(kernels::select_rank_kernel()) {
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
    if (options_.support || options_.of != 0) return find_lanes(begin, end, execution);
    const Index width = end - begin;
    Matrix<float> costs({w.rows(), width});
    execution.parallel_for(w.rows(), [&](Index i) {
      float* const own = &costs(i, 0);
      for (Index k = 0; k < width; ++k) own[k] = cost(w(i, begin + k), begin + k);
      if (!options_.within) return;
      for (Index k = 0; k < width; ++k)
        if (!mask_(i, column(begin + k))) own[k] = -1.0f;  // before all others
    });
    const Index count = removed_count(costs.size(), options_.sparsity, options_.rounding);
    const bool whole_words =
        begin % Mask::word_bits == 0 && (width % Mask::word_bits == 0 || end == mask_.cols());
    const bool in_order = !factor_->options().act_order && whole_words && !options_.within;
    detail::for_each_row_of_smallest(
        kernel_, costs, count,
        [&](Index i, detail::SmallestValues smallest) {
          if (in_order)
            return detail::write_bits_from(kernel_, &costs(i, 0), width, smallest, i, begin, mask_);
          for (Index k = 0; k < width; ++k)
            if (smallest.take(costs(i, k))) mask_.set(i, column(begin + k), false);
        },
        execution);
    find_lanes(begin, end, execution);
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
          if (group.ahead[static_cast<std::size_t>(k)] >=
              static_cast<std::uint32_t>(options_.keep)) {
            mask_.set(row + l, position + k, false);
            lanes_(row / lane_count, position + k - begin_) &= ~(1u << l);
          }
      }
    });
  }

  /// Which of the rows row + l, l < lane_count, keep their weight of a column of the block: bit l.
  [[nodiscard]] std::uint32_t lanes(Index position, Index row) const noexcept {
    return lanes_(row / lane_count, position - begin_);
  }
  /// After the sweep: what stays.
  [[nodiscard]] const Mask& mask() const noexcept { return mask_; }

 private:
  /// Turns the mask of a block, so that a column's bits of a tile of rows lie side by side.
  void find_lanes(Index begin, Index end, const Execution& execution) {
    static_assert(lane_count == 16);
    const Index tiles = ceil_div(mask_.rows(), lane_count), width = end - begin;
    if (lanes_.shape() != Shape<2>{tiles, width}) lanes_ = Matrix<std::uint32_t>({tiles, width});
    begin_ = begin;
    const bool bytes = !factor_->options().act_order && begin % 8 == 0;
    execution.parallel_for(tiles, [&](Index tile) {
      const Index row = tile * lane_count, rows = std::min(lane_count, mask_.rows() - row);
      std::uint32_t* const own = &lanes_(tile, 0);
      std::fill_n(own, width, 0u);
      Index k = 0;
      for (; bytes && k + 8 <= width; k += 8)
        for (Index half = 0; half < rows; half += 8) {
          std::uint64_t square = 0;
          for (Index l = 0; l < std::min<Index>(8, rows - half); ++l)
            square |= std::uint64_t{mask_.byte(row + half + l, (begin + k) / 8)} << 8 * l;
          square = detail::transposed_bits(square);
          for (Index c = 0; c < 8; ++c)
            own[k + c] |= static_cast<std::uint32_t>(square >> 8 * c & 255) << half;
        }
      for (; k < width; ++k)
        for (Index l = 0; l < rows; ++l)
          own[k] |= std::uint32_t{mask_(row + l, column(begin + k))} << l;
    });
  }
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
  kernels::RankKernel kernel_;
  Index begin_ = 0;              ///< of the block
  Matrix<std::uint32_t> lanes_;  ///< (tiles of rows, columns of the block)
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
    const std::uint32_t lanes = mask_->lanes(position, row);
    alignas(tensor_alignment_bytes) float masked[lane_count];
    for (Index half = 0; half < lane_count; half += detail::step_lanes) {
      const auto& kept_lanes = detail::lane_masks.of_byte[lanes >> half & 255];
      PARE_UNROLL
      for (Index l = 0; l < detail::step_lanes; ++l)
        masked[half + l] = detail::where(kept_lanes[static_cast<std::size_t>(l)], values[half + l]);
    }
    inner_->keep(position, row, rows, masked, kept);
  }

 private:
  ObsMask* mask_;
  Inner* inner_;
};

/// The column rule that changes nothing.
struct KeepValue {
  void begin_block(MatrixView<const float>, Index, Index, const Execution&) {}
  void keep(Index, Index, Index, const float* values, float* kept) {
    std::copy_n(values, lane_count, kept);
  }
};

}  // namespace pare
