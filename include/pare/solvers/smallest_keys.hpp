#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"

/// Exact selection of the k smallest numbers, by keys that are ordered as the numbers are: whatever
/// chooses weights does it here.
namespace pare::detail {

template <class T>
using order_key_of = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

/// Before all others: that of what is removed already.
template <class Key>
inline constexpr Key removed_key = 0;

/// Unsigned numbers in the order of the floats, both zeros alike. NaN has no place in it.
template <class T>
[[nodiscard]] constexpr order_key_of<T> order_key(T value) noexcept {
  using Key = order_key_of<T>;
  constexpr Key sign = Key{1} << (8 * sizeof(Key) - 1);
  const Key bits = std::bit_cast<Key>(static_cast<std::remove_const_t<T>>(value + T{0}));
  return (bits & sign) != 0 ? static_cast<Key>(~bits) : static_cast<Key>(bits | sign);
}

/// In the order of |value|.
[[nodiscard]] inline std::uint32_t magnitude_key(float value) noexcept {
  return std::bit_cast<std::uint32_t>(value) << 1;
}

/// The k smallest of some keys are those below the threshold and the first `ties` of those equal to
/// it.
template <class Key>
struct SmallestKeys {
  Key threshold{};
  Index ties = 0;

  /// Whether a key is one of them; asked of each key once, in order.
  [[nodiscard]] bool take(Key key) noexcept {
    return key < threshold || (key == threshold && ties-- > 0);
  }
};

/// Finds the k-th smallest of keys that pass by several times in pieces, so that they need not be
/// in memory: each pass counts one digit of those that agree with what is known so far. More passes
/// make a smaller table of counts.
template <class Key, int Passes = 3, class Count = Index>
class RadixRank {
 public:
  static constexpr int passes = Passes;

  RadixRank() {
    if constexpr (!in_place) counts_.resize(bins);
  }

  /// Counts key(j), j < n.
  template <class KeyOf>
  void add(Index n, KeyOf key) noexcept {
    Count* const counts = counts_.data();
    const int down = shift(), above = down + digit_width();
    if (known_bits_ == 0) {
      for (Index j = 0; j < n; ++j) ++counts[static_cast<std::size_t>(key(j) >> down)];
      return;
    }
    const Key known = known_, digit = mask();
    for (Index j = 0; j < n; ++j)
      if (const Key k = key(j); k >> above == known)
        ++counts[static_cast<std::size_t>(k >> down & digit)];
  }
  /// Adds what another one, made as a copy of this one at the beginning of the pass, has counted.
  void merge(const RadixRank& other) {
    for (std::size_t digit = 0; digit < counts_.size(); ++digit)
      counts_[digit] += other.counts_[digit];
  }
  /// In the last pass, before its end: how many keys equal this one, which is the threshold.
  [[nodiscard]] Index counted(Key threshold) const {
    return static_cast<Index>(counts_[static_cast<std::size_t>(threshold & mask())]);
  }
  /// Ends a pass; `rank` from 1 is the same in each.
  void finish_pass(Index rank) {
    Index left = rank - below_;
    std::size_t digit = 0;
    while (digit + 1 < counts_.size() && static_cast<Index>(counts_[digit]) < left)
      left -= static_cast<Index>(counts_[digit++]);
    below_ = rank - left;
    equal_ = static_cast<Index>(counts_[digit]);
    const int bits = digit_width();
    const Key before = known_bits_ == 0 ? Key{0} : static_cast<Key>(known_ << bits);
    known_ = static_cast<Key>(before | static_cast<Key>(digit));
    known_bits_ += bits;
    std::fill(counts_.begin(), counts_.end(), Count{0});
  }
  /// After all passes. No ties where all that are equal go.
  [[nodiscard]] SmallestKeys<Key> result(Index rank) const {
    const Index ties = rank - below_;
    if (ties == equal_) return {static_cast<Key>(known_ + 1), 0};
    return {known_, ties};
  }

 private:
  static constexpr int key_bits = 8 * static_cast<int>(sizeof(Key));
  static constexpr int digit_bits = (key_bits + passes - 1) / passes;
  static constexpr std::size_t bins = std::size_t{1} << digit_bits;
  static constexpr bool in_place = digit_bits <= 11;

  [[nodiscard]] int digit_width() const { return std::min(digit_bits, key_bits - known_bits_); }
  [[nodiscard]] int shift() const { return key_bits - known_bits_ - digit_width(); }
  [[nodiscard]] Key mask() const { return static_cast<Key>((Key{1} << digit_width()) - 1); }

  std::conditional_t<in_place, std::array<Count, in_place ? bins : 1>, std::vector<Count>>
      counts_{};
  Key known_{};
  int known_bits_ = 0;
  Index below_ = 0, equal_ = 0;
};

/// The `count` smallest, from 1, of keys in pieces, each with a rank of `parts`: add(piece, part,
/// pass) counts those of one. Afterwards the parts still hold what they counted in the last pass.
template <class Rank, class Add>
[[nodiscard]] auto smallest_keys_in_pieces(std::vector<Rank>& parts, Index count, Add add,
                                           const ParallelFor& parallel_for) {
  Rank rank;
  for (int pass = 0; pass < Rank::passes; ++pass) {
    parallel_for(std::ssize(parts), [&](Index piece) {
      Rank& part = parts[static_cast<std::size_t>(piece)];
      part = rank;
      add(piece, part, pass);
    });
    for (const Rank& part : parts) rank.merge(part);
    rank.finish_pass(count);
  }
  return rank.result(count);
}

/// The `count` smallest of keys that are in memory, 0 < count <= keys.size().
template <class Key>
[[nodiscard]] SmallestKeys<Key> smallest_keys(std::span<const Key> keys, Index count,
                                              const Execution& execution = {}) {
  constexpr std::size_t few = 4096;
  if (keys.size() <= few) {
    std::vector<Key> copy(keys.begin(), keys.end());
    const auto nth = copy.begin() + (count - 1);
    std::nth_element(copy.begin(), nth, copy.end());
    const auto below = std::count_if(copy.begin(), nth, [&](Key key) { return key < *nth; });
    return {*nth, count - static_cast<Index>(below)};
  }
  constexpr Index pieces = 16;
  std::vector<RadixRank<Key, static_cast<int>(sizeof(Key)) * 3 / 4>> parts(pieces);
  const Index n = std::ssize(keys);
  return smallest_keys_in_pieces(
      parts, count,
      [&](Index piece, auto& part, int /*pass*/) {
        const Index begin = n * piece / pieces;
        const Key* const own = keys.data() + begin;
        part.add(n * (piece + 1) / pieces - begin, [own](Index j) { return own[j]; });
      },
      execution.parallel_for);
}

/// The same of `n` keys of 32 bits that key(j) makes each time, few enough to pass by thrice in a
/// first-level cache.
template <class KeyOf>
[[nodiscard]] SmallestKeys<std::uint32_t> smallest_keys(Index n, Index count, KeyOf key) {
  RadixRank<std::uint32_t, 3, std::uint32_t> rank;
  for (int pass = 0; pass < rank.passes; ++pass) {
    rank.add(n, key);
    rank.finish_pass(count);
  }
  return rank.result(count);
}

/// Calls take(row, smallest) for each row, concurrently, with what of the `count` smallest, of
/// equal ones the first, are in it.
template <class Key, class Take>
void for_each_row_of_smallest(const Matrix<Key>& keys, Index count, Take take,
                              const Execution& execution = {}) {
  if (count == 0) return;
  const std::span<const Key> all(keys.data(), static_cast<std::size_t>(keys.size()));
  const SmallestKeys<Key> smallest = smallest_keys(all, count, execution);
  std::vector<Index> ties(static_cast<std::size_t>(keys.rows()) + 1);  // in the rows before
  if (smallest.ties > 0) {
    execution.parallel_for(keys.rows(), [&](Index i) {
      const Key* const own = &keys(i, 0);
      ties[static_cast<std::size_t>(i) + 1] =
          std::count(own, own + keys.cols(), smallest.threshold);
    });
    std::partial_sum(ties.begin(), ties.end(), ties.begin());
  }
  execution.parallel_for(keys.rows(), [&](Index i) {
    SmallestKeys<Key> left = smallest;
    left.ties = std::max<Index>(0, left.ties - ties[static_cast<std::size_t>(i)]);
    take(i, left);
  });
}

/// Calls remove(row, column) for the `count` smallest, of equal ones the first. Different rows are
/// visited concurrently, the columns of one in order.
template <class Key, class Remove>
void for_each_smallest(const Matrix<Key>& keys, Index count, Remove remove,
                       const Execution& execution = {}) {
  for_each_row_of_smallest(
      keys, count,
      [&](Index i, SmallestKeys<Key> left) {
        for (Index j = 0; j < keys.cols(); ++j)
          if (left.take(keys(i, j))) remove(i, j);
      },
      execution);
}

/// Writes `cols` bits of a row of a mask, word by word from column `first`, which begins a word and
/// where the row ends or a word does: without what `smallest` takes of key(j), j from 0; takes the
/// ties.
template <class KeyOf>
void write_bits_without(SmallestKeys<std::uint32_t>& smallest, KeyOf key, Index row, Index first,
                        Index cols, Mask& mask) {
  constexpr Index lanes = 8;
  constexpr std::int32_t bit[lanes] = {1, 2, 4, 8, 16, 32, 64, 128};
  constexpr std::uint32_t sign = 0x80000000u;
  // Signed comparisons are what instruction sets have.
  const auto threshold = static_cast<std::int32_t>(smallest.threshold ^ sign);
  for (Index begin = 0; begin < cols; begin += Mask::word_bits) {
    const Index width = std::min(Mask::word_bits, cols - begin);
    std::uint64_t bits = 0;
    Index l = 0;
    for (; l + lanes <= width; l += lanes) {
      std::int32_t kept[lanes];
      PARE_UNROLL
      for (Index k = 0; k < lanes; ++k)
        kept[k] = static_cast<std::int32_t>(key(begin + l + k) ^ sign) >= threshold ? bit[k] : 0;
      std::int32_t byte = 0;
      PARE_UNROLL
      for (Index k = 0; k < lanes; ++k) byte |= kept[k];
      bits |= std::uint64_t{static_cast<std::uint32_t>(byte)} << l;
    }
    for (; l < width; ++l) bits |= std::uint64_t{key(begin + l) >= smallest.threshold} << l;
    *mask.words_from(row, (first + begin) / Mask::word_bits) = bits;
  }
  for (Index j = 0; j < cols && smallest.ties > 0; ++j)
    if (key(j) == smallest.threshold) {
      mask.set(row, first + j, false);
      --smallest.ties;
    }
}
/// The same of a whole row.
template <class KeyOf>
void write_row_without(SmallestKeys<std::uint32_t>& smallest, KeyOf key, Index row, Mask& mask) {
  write_bits_without(smallest, key, row, 0, mask.cols(), mask);
}

}  // namespace pare::detail
