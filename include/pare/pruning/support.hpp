#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/selection.hpp"

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

/// The support of the largest magnitudes, found in three passes over the matrix: one that counts
/// the upper halves of the bits of |z|, one that counts the lower halves where the threshold is,
/// one that writes the mask. Of equal ones the lowest index is removed first, in N:M it is kept.
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
    shares_ = std::clamp<Index>(shape[0] * shape[1] / share_size, 1,
                                std::clamp<Index>(shape[0], 1, most_shares));
    high_.resize(static_cast<std::size_t>(shares_ * bins));
    low_.resize(high_.size());
  }

  /// Writes the mask of z, whose rows are contiguous. `prepare(i)` is called before row i is read,
  /// `finish(i)` once its mask is there: rows of the same share one after the other.
  template <class Prepare, class Finish>
  void select(MatrixView<const float> z, Mask& mask, Prepare prepare, Finish finish) {
    if (of_ != 0 || by_row_) {
      parallel_for_(shape_[0], [&](Index i) {
        prepare(i);
        of_ != 0 ? n_of_m(&z(i, 0), i, mask) : largest_of_row(&z(i, 0), i, mask);
        finish(i);
      });
      return;
    }
    for_shares([&](Index share, Index first, Index last) {
      std::uint32_t* const counts = &high_[static_cast<std::size_t>(share * bins)];
      std::fill_n(counts, bins, 0u);
      for (Index i = first; i < last; ++i) {
        prepare(i);
        const float* const row = z.data() + i * z.stride(0);
        for (Index j = 0; j < shape_[1]; ++j) ++counts[key(row[j]) >> low_bits];
      }
    });
    Index removed = removed_;
    const std::uint32_t high = find_bin(high_, removed);
    for_shares([&](Index share, Index first, Index last) {
      std::uint32_t* const counts = &low_[static_cast<std::size_t>(share * bins)];
      std::fill_n(counts, bins, 0u);
      for (Index i = first; i < last; ++i) {
        const float* const row = z.data() + i * z.stride(0);
        for (Index j = 0; j < shape_[1]; ++j)
          if (const std::uint32_t k = key(row[j]); k >> low_bits == high) ++counts[k & low_mask];
      }
    });
    const std::uint32_t low = find_bin(low_, removed);
    // What is left of `removed` are ties, taken from the first shares.
    std::vector<Index> ties(static_cast<std::size_t>(shares_));
    for (Index share = 0; share < shares_; ++share) {
      const Index here = low_[static_cast<std::size_t>(share * bins + low)];
      removed -= ties[static_cast<std::size_t>(share)] = std::min(removed, here);
    }
    const std::uint32_t threshold = high << low_bits | low;
    for_shares([&](Index share, Index first, Index last) {
      Index equal = ties[static_cast<std::size_t>(share)];
      const bool all = equal == low_[static_cast<std::size_t>(share * bins + low)];
      for (Index i = first; i < last; ++i) {
        const float* const row = z.data() + i * z.stride(0);
        write_row(row, i, all ? threshold + 1 : threshold, mask);
        if (!all && equal > 0) remove_ties(row, i, threshold, equal, mask);
        finish(i);
      }
    });
  }

 private:
  static constexpr Index lanes = 8;
  static constexpr int low_bits = 15;
  static constexpr std::uint32_t above_all = 0x7fffffffu;
  static constexpr std::uint32_t low_mask = (1u << low_bits) - 1;
  static constexpr Index bins = Index{1} << 16, share_size = Index{1} << 17, most_shares = 32;

  /// Grows with |z|.
  [[nodiscard]] static std::uint32_t key(float z) noexcept {
    return std::bit_cast<std::uint32_t>(z) & 0x7fffffffu;
  }

  template <class Body>
  void for_shares(Body body) const {
    parallel_for_(shares_, [&](Index share) {
      body(share, shape_[0] * share / shares_, shape_[0] * (share + 1) / shares_);
    });
  }

  /// The bin that holds the element after the `rank` smallest, which becomes its rank in there.
  [[nodiscard]] std::uint32_t find_bin(const std::vector<std::uint32_t>& counts,
                                       Index& rank) const {
    for (Index bin = 0; bin < bins; ++bin) {
      Index here = 0;
      for (Index share = 0; share < shares_; ++share)
        here += counts[static_cast<std::size_t>(share * bins + bin)];
      if (rank < here) return static_cast<std::uint32_t>(bin);
      rank -= here;
    }
    return static_cast<std::uint32_t>(bins - 1);  // all are removed
  }

  /// Keeps keys from `threshold` on.
  void write_row(const float* z, Index i, std::uint32_t threshold, Mask& mask) const {
    const Index cols = shape_[1];
    const auto below = static_cast<std::int32_t>(threshold - 1);
    constexpr std::int32_t bit[lanes] = {1, 2, 4, 8, 16, 32, 64, 128};
    for (Index begin = 0; begin < cols; begin += Mask::word_bits) {
      const Index width = std::min(Mask::word_bits, cols - begin);
      std::uint64_t bits = 0;
      Index l = 0;
      for (; l + lanes <= width; l += lanes) {
        std::int32_t kept[lanes];
        PARE_UNROLL
        for (Index k = 0; k < lanes; ++k)
          kept[k] = (below - static_cast<std::int32_t>(key(z[begin + l + k]))) >> 31 & bit[k];
        std::int32_t byte = 0;
        PARE_UNROLL
        for (Index k = 0; k < lanes; ++k) byte |= kept[k];
        bits |= std::uint64_t{static_cast<std::uint32_t>(byte)} << l;
      }
      for (; l < width; ++l) bits |= std::uint64_t{key(z[begin + l]) >= threshold} << l;
      mask.set_word(i, begin / Mask::word_bits, bits);
    }
  }

  /// Removes the first `ties` of those whose key is the threshold.
  void remove_ties(const float* z, Index i, std::uint32_t threshold, Index& ties,
                   Mask& mask) const {
    for (Index j = 0; j < shape_[1] && ties > 0; ++j)
      if (key(z[j]) == threshold) {
        mask.set(i, j, false);
        --ties;
      }
  }

  /// As the whole matrix, in digits of 11, 10 and 10 bits.
  void largest_of_row(const float* z, Index i, Mask& mask) const {
    const Index cols = shape_[1];
    if (removed_ == cols) return write_row(z, i, above_all, mask);
    std::array<std::uint32_t, 2048> counts;
    std::uint32_t known = 0;
    auto rank = static_cast<std::uint32_t>(removed_);
    for (int shift = 20, width = 11; shift >= 0; shift -= 10, width = 10) {
      counts.fill(0);
      const int known_shift = shift + width;
      const std::uint32_t digit = (1u << width) - 1;
      for (Index j = 0; j < cols; ++j)
        if (const std::uint32_t k = key(z[j]); k >> known_shift == known)
          ++counts[k >> shift & digit];
      std::uint32_t bin = 0;
      while (rank >= counts[bin]) rank -= counts[bin++];
      known = known << width | bin;
    }
    Index ties = rank;
    write_row(z, i, known, mask);
    if (ties > 0) remove_ties(z, i, known, ties, mask);
  }

  void n_of_m(const float* z, Index i, Mask& mask) const {
    if (of_ == 4) return n_of_m(z, i, std::array<std::uint32_t, 4>{}, mask);
    if (of_ == 8) return n_of_m(z, i, std::array<std::uint32_t, 8>{}, mask);
    n_of_m(z, i, std::vector<std::uint32_t>(static_cast<std::size_t>(of_)), mask);
  }
  /// `keys` has room for a group.
  template <class Keys>
  void n_of_m(const float* z, Index i, Keys keys, Mask& mask) const {
    Keys ahead = keys;  // how many of the group are kept rather
    const auto keep = static_cast<std::uint32_t>(keep_);
    std::uint64_t bits = 0;
    for (Index begin = 0; begin < shape_[1]; begin += std::ssize(keys)) {
      for (std::size_t j = 0; j < keys.size(); ++j) {
        keys[j] = key(z[begin + static_cast<Index>(j)]);
        ahead[j] = 0;
        for (std::size_t l = 0; l < j; ++l) {
          const std::uint32_t is_greater = keys[j] > keys[l];
          ahead[l] += is_greater;
          ahead[j] += 1 - is_greater;
        }
      }
      for (std::size_t l = 0; l < keys.size(); ++l) {
        const Index j = begin + static_cast<Index>(l);
        bits |= std::uint64_t{ahead[l] < keep} << j % Mask::word_bits;
        if ((j + 1) % Mask::word_bits == 0 || j + 1 == shape_[1]) {
          mask.set_word(i, j / Mask::word_bits, bits);
          bits = 0;
        }
      }
    }
  }

  Shape<2> shape_;
  Index removed_ = 0, keep_, of_;
  bool by_row_;
  ParallelFor parallel_for_;
  Index shares_ = 0;
  std::vector<std::uint32_t> high_, low_;
};

/// All bits of a lane, or none, for each byte of a mask: how a loop over floats reads one without
/// branches.
struct LaneMasks {
  static constexpr Index lanes = 8;
  std::array<std::array<std::uint32_t, lanes>, 256> of_byte{};

  constexpr LaneMasks() {
    for (std::size_t byte = 0; byte < of_byte.size(); ++byte)
      for (std::size_t l = 0; l < lanes; ++l) of_byte[byte][l] = (byte >> l & 1) != 0 ? ~0u : 0u;
  }
};
inline constexpr LaneMasks lane_masks;

/// x where the mask of the lane has bits, else 0.
[[nodiscard]] inline float where(std::uint32_t lane, float x) noexcept {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & lane);
}

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
