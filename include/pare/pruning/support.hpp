#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"

namespace pare::detail {

/// How many weights of a matrix stay, in a solver that chooses them again and again by |z|: a
/// number over the whole matrix or per row, or N of M neighbours.
struct SupportCount {
  Index removed = 0;  ///< of the matrix, or of each row
  bool by_row = false;
  Index keep = 0, of = 0;  ///< N:M when `of` is not 0
};

/// The support of the largest magnitudes, found in three passes over the matrix: one that counts
/// the upper halves of the bits of |z|, one that counts the lower halves where the threshold is,
/// one that writes the mask. Of equal ones the lowest index is removed first, in N:M it is kept.
class SupportSelector {
 public:
  SupportSelector(Shape<2> shape, const SupportCount& count, const ParallelFor& parallel_for)
      : shape_(shape), count_(count), parallel_for_(parallel_for) {
    if (count.of != 0 || count.by_row) return;
    shares_ = std::clamp<Index>(shape[0] * shape[1] / share_size, 1,
                                std::clamp<Index>(shape[0], 1, most_shares));
    high_.resize(static_cast<std::size_t>(shares_ * bins));
    low_.resize(high_.size());
  }

  /// Writes the mask of z, whose rows are contiguous. `prepare(i)` is called before row i is read,
  /// `finish(i)` once its mask is there: rows of the same share one after the other.
  template <class Prepare, class Finish>
  void select(MatrixView<const float> z, Mask& mask, Prepare prepare, Finish finish) {
    if (count_.of != 0 || count_.by_row) {
      parallel_for_(shape_[0], [&](Index i) {
        prepare(i);
        count_.of != 0 ? n_of_m(&z(i, 0), i, mask) : largest_of_row(&z(i, 0), i, mask);
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
    Index removed = count_.removed;
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
      for (Index i = first; i < last; ++i) {
        write_row(z.data() + i * z.stride(0), i, threshold, equal, mask);
        finish(i);
      }
    });
  }

 private:
  static constexpr int low_bits = 15;
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

  void write_row(const float* z, Index i, std::uint32_t threshold, Index& ties, Mask& mask) const {
    const Index cols = shape_[1];
    for (Index begin = 0; begin < cols; begin += Mask::word_bits) {
      const Index width = std::min(Mask::word_bits, cols - begin);
      std::uint64_t bits = 0, equal = 0;
      for (Index l = 0; l < width; ++l) {
        const std::uint32_t k = key(z[begin + l]);
        bits |= std::uint64_t{k >= threshold} << l;
        equal |= std::uint64_t{k == threshold} << l;
      }
      for (; equal != 0 && ties > 0; --ties, equal &= equal - 1) bits &= ~(equal & (0 - equal));
      mask.set_word(i, begin / Mask::word_bits, bits);
    }
  }

  void largest_of_row(const float* z, Index i, Mask& mask) const {
    const auto cols = static_cast<std::size_t>(shape_[1]);
    std::vector<std::uint64_t> keys(cols);
    for (std::size_t j = 0; j < cols; ++j) keys[j] = std::uint64_t{key(z[j])} << 32 | j;
    const auto kept = keys.begin() + count_.removed;
    if (kept != keys.end()) std::nth_element(keys.begin(), kept, keys.end());
    for (auto k = keys.begin(); k != keys.end(); ++k)
      mask.set(i, static_cast<Index>(*k & 0xffffffffu), k >= kept);
  }

  void n_of_m(const float* z, Index i, Mask& mask) const {
    const Index keep = count_.keep, of = count_.of;
    std::uint64_t bits = 0;
    for (Index begin = 0; begin < shape_[1]; begin += of)
      for (Index j = begin; j < begin + of; ++j) {
        const std::uint32_t own = key(z[j]);
        Index ahead = 0;
        for (Index l = begin; l < j; ++l) ahead += key(z[l]) >= own;
        for (Index l = j + 1; l < begin + of; ++l) ahead += key(z[l]) > own;
        bits |= std::uint64_t{ahead < keep} << j % Mask::word_bits;
        if ((j + 1) % Mask::word_bits == 0 || j + 1 == shape_[1]) {
          mask.set_word(i, j / Mask::word_bits, bits);
          bits = 0;
        }
      }
  }

  Shape<2> shape_;
  SupportCount count_;
  ParallelFor parallel_for_;
  Index shares_ = 0;
  std::vector<std::uint32_t> high_, low_;
};

/// What differs between two masks of the same shape.
[[nodiscard]] inline Index changed(const Mask& a, const Mask& b) {
  Index count = 0;
  for (Index i = 0; i < a.rows(); ++i)
    for (std::size_t k = 0; k < a.row_words(i).size(); ++k)
      count += std::popcount(a.row_words(i)[k] ^ b.row_words(i)[k]);
  return count;
}

}  // namespace pare::detail
