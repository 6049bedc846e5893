#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/core/lanes.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/selection.hpp"
#include "pare/solvers/n_of_m.hpp"
#include "pare/solvers/smallest_keys.hpp"

namespace pare::detail {

/// Throws ArgumentError for a selection that a solver cannot make again and again by |z|.
inline void require_support(const Selection& selection, const Shape<2>& shape) {
  require_valid(selection, shape);
  if (selection.block_rows != 1 || selection.block_cols != 1 || selection.within)
    throw ArgumentError(
        "this solver chooses single weights or N of M among all, no blocks, and not within a mask");
  if (selection.of == 0)
    (void)count_of(selection,
                   selection.scope == SelectionScope::row ? shape[1] : shape[0] * shape[1]);
}

/// The support of the largest magnitudes, found in three passes over the matrix: two that count the
/// halves of the bits of |z|, one that writes the mask. Of equal ones the lowest index is removed
/// first, in N:M it is kept.
class SupportSelector {
 public:
  SupportSelector(Shape<2> shape, const Selection& selection, const ParallelFor& parallel_for)
      : shape_(shape),
        keep_(selection.keep),
        of_(selection.of),
        by_row_(selection.scope == SelectionScope::row),
        parallel_for_(parallel_for) {
    require_support(selection, shape);
    if (of_ != 0) return;
    removed_ = count_of(selection, by_row_ ? shape[1] : shape[0] * shape[1]);
    if (by_row_) return;
    parts_.resize(static_cast<std::size_t>(std::clamp<Index>(
        shape[0] * shape[1] / share_size, 1, std::clamp<Index>(shape[0], 1, most_shares))));
  }

  /// Writes the mask of z, whose rows are contiguous. `prepare(i)` is called before row i is read,
  /// `finish(i)` once its mask is there: rows of the same share one after the other.
  template <class Prepare, class Finish>
  void select(MatrixView<const float> z, Mask& mask, Prepare prepare, Finish finish) {
    const auto keys_of = [&](Index i) {
      return [row = z.data() + i * z.stride(0)](Index j) { return magnitude_key(row[j]); };
    };
    if (of_ != 0 || by_row_) {
      parallel_for_(shape_[0], [&](Index i) {
        prepare(i);
        if (of_ != 0) {
          write_n_of_m_row(keep_, of_, keys_of(i), i, mask);
        } else {
          SmallestKeys<std::uint32_t> smallest;
          if (removed_ > 0) smallest = smallest_keys(shape_[1], removed_, keys_of(i));
          write_row_without(smallest, keys_of(i), i, mask);
        }
        finish(i);
      });
      return;
    }
    const auto first_row = [&](Index share) { return shape_[0] * share / std::ssize(parts_); };
    SmallestKeys<std::uint32_t> smallest = smallest_keys_in_pieces(
        parts_, std::max<Index>(removed_, 1),
        [&](Index share, auto& part, int pass) {
          for (Index i = first_row(share); i < first_row(share + 1); ++i) {
            if (pass == 0) prepare(i);
            part.add(shape_[1], keys_of(i));
          }
        },
        parallel_for_);
    if (removed_ == 0) smallest = {};
    // Ties are taken from the first shares.
    std::vector<SmallestKeys<std::uint32_t>> of_share(parts_.size(), smallest);
    for (std::size_t share = 0; share < parts_.size(); ++share) {
      Index& ties = of_share[share].ties;
      ties = std::min(smallest.ties, parts_[share].counted(smallest.threshold));
      smallest.ties -= ties;
    }
    parallel_for_(std::ssize(parts_), [&](Index share) {
      SmallestKeys<std::uint32_t>& own = of_share[static_cast<std::size_t>(share)];
      for (Index i = first_row(share); i < first_row(share + 1); ++i) {
        write_row_without(own, keys_of(i), i, mask);
        finish(i);
      }
    });
  }

 private:
  static constexpr Index share_size = Index{1} << 18, most_shares = 32;

  Shape<2> shape_;
  Index removed_ = 0, keep_, of_;
  bool by_row_;
  ParallelFor parallel_for_;
  std::vector<RadixRank<std::uint32_t, 2, std::uint32_t>> parts_;
};

/// out[j] = f(kept, a[j], b[j]) for a row of a mask, `kept` for where(); out may be a or b.
template <class F>
void transform_masked(const Mask& mask, Index row, const float* a, const float* b, float* out,
                      F f) noexcept {
  constexpr Index lanes = LaneMasks::lanes;
  const auto words = mask.row_words(row);
  const Index cols = mask.cols();
  for (Index begin = 0; begin < cols; begin += Mask::word_bits) {
    const std::uint64_t bits = words[static_cast<std::size_t>(begin / Mask::word_bits)];
    const Index end = std::min(cols, begin + Mask::word_bits);
    for (Index j = begin; j < end; j += lanes) {
      const auto& kept = lane_masks.of_byte[bits >> (j - begin) & 255];
      if (j + lanes <= end) {
        float results[lanes];
        PARE_UNROLL
        for (Index l = 0; l < lanes; ++l)
          results[l] = f(kept[static_cast<std::size_t>(l)], a[j + l], b[j + l]);
        PARE_UNROLL
        for (Index l = 0; l < lanes; ++l) out[j + l] = results[l];
      } else {
        for (Index l = 0; j + l < end; ++l)
          out[j + l] = f(kept[static_cast<std::size_t>(l)], a[j + l], b[j + l]);
      }
    }
  }
}

/// What differs between two masks of the same shape.
[[nodiscard]] inline Index changed(const Mask& a, const Mask& b) {
  Index count = 0;
  for (Index i = 0; i < a.rows(); ++i)
    for (std::size_t k = 0; k < a.row_words(i).size(); ++k)
      count += std::popcount(a.row_words(i)[k] ^ b.row_words(i)[k]);
  return count;
}

}  // namespace pare::detail
