#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

/// Exact selection of the k smallest numbers, by keys that are ordered as the numbers are.
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

/// The k smallest of some keys are those below the threshold and `ties` of those equal to it.
template <class Key>
struct SmallestKeys {
  Key threshold{};
  Index ties = 0;
};

/// Finds the k-th smallest of keys that pass by several times in pieces, so that they need not be
/// in memory: each pass counts one digit of those that agree with what is known so far.
template <class Key>
class RadixRank {
 public:
  static constexpr int passes = 3;
  static constexpr int digit_bits = (8 * static_cast<int>(sizeof(Key)) + passes - 1) / passes;

  RadixRank() : counts_(std::size_t{1} << digit_bits) {}

  void add(Key key) noexcept {
    if (known_bits_ == 0 || key >> (key_bits - known_bits_) == known_)
      ++counts_[static_cast<std::size_t>(key >> shift() & mask())];
  }
  /// Adds what another one, made as a copy of this one at the beginning of the pass, has counted.
  void merge(const RadixRank& other) {
    for (std::size_t digit = 0; digit < counts_.size(); ++digit)
      counts_[digit] += other.counts_[digit];
  }
  /// Ends a pass; `rank` from 1 is the same in each.
  void finish_pass(Index rank) {
    Index left = rank - below_;
    std::size_t digit = 0;
    while (digit + 1 < counts_.size() && counts_[digit] < left) left -= counts_[digit++];
    below_ = rank - left;
    const int bits = digit_width();
    const Key before = known_bits_ == 0 ? Key{0} : static_cast<Key>(known_ << bits);
    known_ = static_cast<Key>(before | static_cast<Key>(digit));
    known_bits_ += bits;
    std::fill(counts_.begin(), counts_.end(), Index{0});
  }
  /// After all passes.
  [[nodiscard]] SmallestKeys<Key> result(Index rank) const { return {known_, rank - below_}; }

 private:
  static constexpr int key_bits = 8 * static_cast<int>(sizeof(Key));

  [[nodiscard]] int digit_width() const { return std::min(digit_bits, key_bits - known_bits_); }
  [[nodiscard]] int shift() const { return key_bits - known_bits_ - digit_width(); }
  [[nodiscard]] Key mask() const { return static_cast<Key>((Key{1} << digit_width()) - 1); }

  std::vector<Index> counts_;
  Key known_{};
  int known_bits_ = 0;
  Index below_ = 0;
};

/// The `count` smallest of keys that are in memory, 0 < count <= keys.size().
template <class Key>
[[nodiscard]] SmallestKeys<Key> smallest_keys(std::span<const Key> keys, Index count,
                                              const Execution& execution = {}) {
  constexpr std::size_t few = 4096, pieces = 16;
  if (keys.size() <= few) {
    std::vector<Key> copy(keys.begin(), keys.end());
    const auto nth = copy.begin() + (count - 1);
    std::nth_element(copy.begin(), nth, copy.end());
    const auto below = std::count_if(copy.begin(), nth, [&](Key key) { return key < *nth; });
    return {*nth, count - static_cast<Index>(below)};
  }
  RadixRank<Key> rank;
  const std::size_t length = (keys.size() + pieces - 1) / pieces;
  for (int pass = 0; pass < RadixRank<Key>::passes; ++pass) {
    std::vector<RadixRank<Key>> parts(pieces, rank);
    execution.parallel_for(static_cast<Index>(pieces), [&](Index piece) {
      const auto part = static_cast<std::size_t>(piece);
      const std::size_t begin = std::min(keys.size(), part * length);
      for (const Key key : keys.subspan(begin, std::min(length, keys.size() - begin)))
        parts[part].add(key);
    });
    for (const RadixRank<Key>& part : parts) rank.merge(part);
    rank.finish_pass(count);
  }
  return rank.result(count);
}

/// The same of `n` keys of 32 bits that key(j) makes each time, few enough to pass by thrice in a
/// first-level cache.
template <class KeyOf>
[[nodiscard]] SmallestKeys<std::uint32_t> smallest_keys(Index n, Index count, KeyOf key) {
  std::array<std::uint32_t, 2048> counts;
  std::uint32_t known = 0;
  auto rank =
      static_cast<std::uint32_t>(count - 1);  // how many are smaller, with equal ones before
  constexpr std::array<int, 3> widths{11, 11, 10};
  int shift = 32;
  for (const int width : widths) {
    const int above = shift;
    shift -= width;
    counts.fill(0);
    for (Index j = 0; j < n; ++j)
      if (const std::uint32_t k = key(j); above == 32 || k >> above == known)
        ++counts[k >> shift & ((1u << width) - 1)];
    std::uint32_t bin = 0;
    while (rank >= counts[bin]) rank -= counts[bin++];
    known = above == 32 ? bin : known << width | bin;
  }
  return {known, static_cast<Index>(rank) + 1};
}

/// Calls remove(row, column) for the smallest, of equal ones the first. Different rows are visited
/// concurrently, the columns of one in order.
template <class Key, class Remove>
void for_each_smallest(const Matrix<Key>& keys, const SmallestKeys<Key>& smallest, Remove remove,
                       const Execution& execution = {}) {
  std::vector<Index> ties(static_cast<std::size_t>(keys.rows()) + 1);  // in the rows before
  const auto row = [&](Index i) {
    return std::span(&keys(i, 0), static_cast<std::size_t>(keys.cols()));
  };
  execution.parallel_for(keys.rows(), [&](Index i) {
    const auto own = row(i);
    ties[static_cast<std::size_t>(i) + 1] = std::count(own.begin(), own.end(), smallest.threshold);
  });
  std::partial_sum(ties.begin(), ties.end(), ties.begin());
  execution.parallel_for(keys.rows(), [&](Index i) {
    Index left = smallest.ties - ties[static_cast<std::size_t>(i)];
    for (Index j = 0; j < keys.cols(); ++j) {
      const Key key = keys(i, j);
      if (key < smallest.threshold || (key == smallest.threshold && left-- > 0)) remove(i, j);
    }
  });
}

}  // namespace pare::detail
