#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/rank.hpp"
#include "pare/solvers/smallest_keys.hpp"

/// Exact selection of the k smallest floats that lie in memory, by counting: a sample says between
/// which two values the k-th probably is, what is counted below these where to look next.
namespace pare::detail {

/// The float of a key, the positive zero of the two.
[[nodiscard]] inline float value_of_key(std::uint32_t key) noexcept {
  constexpr std::uint32_t sign = 0x80000000u;
  return std::bit_cast<float>((key & sign) != 0 ? key ^ sign : ~key);
}

/// The k smallest of some values are those below the bound and the first `ties` of those equal to
/// it.
struct SmallestValues {
  float bound = 0.0f;
  Index ties = 0;

  /// Whether a value is one of them; asked of each once, in order.
  [[nodiscard]] bool take(float value) noexcept {
    return !(value >= bound) || (value == bound && ties-- > 0);
  }
};

/// Two values of a sample that probably enclose the k-th smallest of all.
struct Enclosure {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

/// `nth(r)` is the value of a sample of that many that r others precede; so many standard
/// deviations of a rank are between it and each of the two.
template <class Nth>
[[nodiscard]] Enclosure enclose(Index sampled, Index count, Index n, double deviations, Nth nth) {
  const auto size = static_cast<double>(sampled);
  const double rank = static_cast<double>(count) / static_cast<double>(n) * size;
  const double spread = deviations * std::sqrt(rank * (1.0 - rank / size)) + 1.0;
  Enclosure between;
  if (rank >= spread) between.low = nth(static_cast<Index>(rank - spread));
  if (rank + spread < size) between.high = nth(static_cast<Index>(rank + spread));
  return between;
}

/// The k-th smallest, from 1, of values of which `less` others are smaller; reorders them.
[[nodiscard]] inline SmallestValues smallest_of_few(std::span<float> values, Index count,
                                                    Index less) {
  const auto nth = values.begin() + (count - less - 1);
  std::nth_element(values.begin(), nth, values.end());
  const float bound = *nth;
  less += std::count_if(values.begin(), nth, [&](float v) { return v < bound; });
  const Index equal = std::count(values.begin(), values.end(), bound);
  // Where all that are equal go, there is no tie to look for. After infinity NaN follows, from
  // which nothing is kept.
  if (count - less == equal) return {value_of_key(order_key(bound) + 1), 0};
  return {bound, count - less};
}

/// The `count` smallest, 0 < count <= n, of a row that stays in a first-level cache.
[[nodiscard]] inline SmallestValues smallest_of_row(const kernels::RankKernel& kernel,
                                                    const float* row, Index n, Index count) {
  constexpr Index sampled = 16;
  constexpr Index few = 32;
  // Fewer than `count` values are below the key `low`, at least as many up to `high`.
  std::uint32_t low = order_key(-std::numeric_limits<float>::infinity());
  std::uint32_t high = order_key(std::numeric_limits<float>::infinity());
  Index below_low = 0, up_to_high = n;
  const auto try_key = [&](std::uint32_t key) {
    if (key < low || key >= high) return;
    const Index found = kernel.count_below(row, n, value_of_key(key + 1));
    if (found >= count) {
      high = key;
      up_to_high = found;
    } else {
      low = key + 1;
      below_low = found;
    }
  };
  if (n > 4 * sampled) {
    std::array<float, sampled> sample;
    for (Index j = 0; j < sampled; ++j)
      sample[static_cast<std::size_t>(j)] = row[j * (n / sampled)];
    // Counting finds a rank among few sooner than sorting does.
    const Enclosure enclosure = enclose(sampled, count, n, 2.0, [&](Index rank) {
      float nth = sample[0];
      Index before = -1;
      for (const float value : sample)
        if (const Index below = kernel.count_below(sample.data(), sampled, value);
            below <= rank && below > before) {
          nth = value;
          before = below;
        }
      return nth;
    });
    try_key(order_key(enclosure.low));
    try_key(order_key(enclosure.high));
  }
  for (int pass = 0; low < high && up_to_high - below_low > few; ++pass) {
    // Where it would be if values were spread evenly; halves of the keys as well, since they may
    // not be.
    const double share = (static_cast<double>(count - below_low) - 0.5) /
                         static_cast<double>(up_to_high - below_low);
    const double first = value_of_key(low), last = value_of_key(high);
    const auto guess = static_cast<float>(first + (last - first) * share);
    try_key(pass % 3 == 2 || !is_finite(guess) ? low + (high - low) / 2
                                               : std::clamp(order_key(guess), low, high - 1));
  }
  if (low == high) {
    if (up_to_high == count) return {value_of_key(low + 1), 0};
    return {value_of_key(low), count - below_low};
  }
  std::array<float, few> left;
  const Index found =
      kernel.copy_between(row, n, value_of_key(low), value_of_key(high), left.data());
  return smallest_of_few({left.data(), static_cast<std::size_t>(found)}, count, below_low);
}

/// The `count` smallest, 0 < count <= size, of all values of a matrix with contiguous rows.
[[nodiscard]] inline SmallestValues smallest_of_matrix(const kernels::RankKernel& kernel,
                                                       MatrixView<const float> values, Index count,
                                                       const ParallelFor& parallel_for) {
  const Index rows = values.rows(), cols = values.cols(), n = values.size();
  const auto sampled = static_cast<std::size_t>(std::min<Index>(n, 4096));
  std::vector<float> sample(sampled);
  for (std::size_t k = 0; k < sampled; ++k) {
    const auto at = static_cast<Index>(static_cast<double>(k) / static_cast<double>(sampled) *
                                       static_cast<double>(n));
    sample[k] = values(at / cols, at % cols);
  }
  Enclosure enclosure = enclose(std::ssize(sample), count, n, 3.0, [&](Index rank) {
    std::nth_element(sample.begin(), sample.begin() + rank, sample.end());
    return sample[static_cast<std::size_t>(rank)];
  });
  struct Piece {
    Index below = 0;
    std::vector<float> between{};
  };
  std::vector<Piece> pieces(static_cast<std::size_t>(std::min<Index>(rows, 64)));
  const auto gather = [&] {
    parallel_for(std::ssize(pieces), [&](Index p) {
      Piece& piece = pieces[static_cast<std::size_t>(p)];
      const Index first = rows * p / std::ssize(pieces);
      const Index last = rows * (p + 1) / std::ssize(pieces);
      std::vector<float> row(static_cast<std::size_t>(cols));
      piece = {};
      for (Index i = first; i < last; ++i) {
        piece.below += kernel.count_below(&values(i, 0), cols, enclosure.low);
        const Index found =
            kernel.copy_between(&values(i, 0), cols, enclosure.low, enclosure.high, row.data());
        piece.between.insert(piece.between.end(), row.begin(), row.begin() + found);
      }
    });
  };
  gather();
  Index below = 0, between = 0;
  for (const Piece& piece : pieces) below += piece.below, between += std::ssize(piece.between);
  if (count <= below || count > below + between) {
    // The sample has misled: one side is left.
    constexpr float infinity = std::numeric_limits<float>::infinity();
    if (count <= below)
      enclosure.high = enclosure.low, enclosure.low = -infinity;
    else
      enclosure.low = enclosure.high, enclosure.high = infinity;
    gather();
    below = 0;
    for (const Piece& piece : pieces) below += piece.below;
  }
  std::vector<float> all;
  for (const Piece& piece : pieces)
    all.insert(all.end(), piece.between.begin(), piece.between.end());
  return smallest_of_few(all, count, below);
}

/// Removes what `smallest` says of `cols` values in a row of a mask, from column `first`, which
/// begins a word and where the row ends or a word does; writes what is kept, too. Takes the ties.
inline void write_bits_from(const kernels::RankKernel& kernel, const float* values, Index cols,
                            SmallestValues& smallest, Index row, Index first, Mask& mask) {
  kernel.bits_from(values, cols, smallest.bound, mask.words_from(row, first / Mask::word_bits));
  for (Index j = 0; j < cols && smallest.ties > 0; ++j)
    if (values[j] == smallest.bound) {
      mask.set(row, first + j, false);
      --smallest.ties;
    }
}

/// Calls take(row, smallest) for each row, concurrently, with what of the `count` smallest values
/// of the matrix, of equal ones the first, are in it.
template <class Take>
void for_each_row_of_smallest(const kernels::RankKernel& kernel, MatrixView<const float> values,
                              Index count, Take take, const Execution& execution = {}) {
  if (count == 0) return;
  const SmallestValues smallest = smallest_of_matrix(kernel, values, count, execution.parallel_for);
  std::vector<Index> ties(static_cast<std::size_t>(values.rows()) + 1);  // in the rows before
  if (smallest.ties > 0) {
    execution.parallel_for(values.rows(), [&](Index i) {
      const float* const own = &values(i, 0);
      ties[static_cast<std::size_t>(i) + 1] = std::count(own, own + values.cols(), smallest.bound);
    });
    std::partial_sum(ties.begin(), ties.end(), ties.begin());
  }
  execution.parallel_for(values.rows(), [&](Index i) {
    SmallestValues left = smallest;
    left.ties = std::max<Index>(0, left.ties - ties[static_cast<std::size_t>(i)]);
    take(i, left);
  });
}

}  // namespace pare::detail
