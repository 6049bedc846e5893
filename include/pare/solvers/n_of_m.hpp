#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/formats/mask.hpp"

/// The choice of N in every M neighbours of a row, by keys that are ordered as the numbers are
/// (smallest_keys.hpp): the largest stay, of equal ones the first.
namespace pare::detail {

/// Throws ArgumentError unless N:M is a pattern and rows of `cols` weights divide into its groups.
inline void require_n_of_m(Index keep, Index of, Index cols) {
  if (of < 1 || keep < 0 || keep > of)
    throw ArgumentError(std::to_string(keep) + ":" + std::to_string(of) +
                        " is no pattern: of M neighbours 0 to M are kept");
  if (cols % of != 0)
    throw ArgumentError("rows of " + std::to_string(cols) +
                        " weights do not divide into groups of " + std::to_string(of));
}

/// A group of M neighbours; M = 0 has any number of them.
template <class Key, std::size_t M>
class Group {
 public:
  explicit Group(Index size) {
    if constexpr (M == 0) {
      keys.resize(static_cast<std::size_t>(size));
      ahead.resize(keys.size());
    }
  }

  std::conditional_t<M == 0, std::vector<Key>, std::array<Key, M == 0 ? 1 : M>> keys;
  /// After rank(): how many of the group stay rather than each.
  std::conditional_t<M == 0, std::vector<std::uint32_t>, std::array<std::uint32_t, M == 0 ? 1 : M>>
      ahead;

  void rank() noexcept {
    for (std::size_t j = 0; j < keys.size(); ++j) {
      ahead[j] = 0;
      for (std::size_t l = 0; l < j; ++l) {
        const std::uint32_t is_greater = keys[j] > keys[l];
        ahead[l] += is_greater;
        ahead[j] += 1 - is_greater;
      }
    }
  }
};

/// f(group) with room for a group of `of`.
template <class Key, class F>
void with_group(Index of, F f) {
  if (of == 4) return f(Group<Key, 4>(of));
  if (of == 8) return f(Group<Key, 8>(of));
  f(Group<Key, 0>(of));
}

/// Writes a row of a mask: of every `of` keys key(j) the `keep` largest stay.
template <class KeyOf>
void write_n_of_m_row(Index keep, Index of, KeyOf key, Index row, Mask& mask) {
  with_group<decltype(key(Index{}))>(of, [&](auto group) {
    const Index cols = mask.cols(), size = std::ssize(group.keys);
    const auto most = static_cast<std::uint32_t>(keep);
    const auto choose = [&](Index begin) {
      for (std::size_t k = 0; k < group.keys.size(); ++k)
        group.keys[k] = key(begin + static_cast<Index>(k));
      group.rank();
    };
    if (Mask::word_bits % size != 0) {  // groups reach from one word into another
      for (Index begin = 0; begin < cols; begin += size) {
        choose(begin);
        for (Index k = 0; k < size; ++k)
          mask.set(row, begin + k, group.ahead[static_cast<std::size_t>(k)] < most);
      }
      return;
    }
    for (Index begin = 0; begin < cols; begin += Mask::word_bits) {
      std::uint64_t bits = 0;
      for (Index first = begin; first < std::min(cols, begin + Mask::word_bits); first += size) {
        choose(first);
        for (Index k = 0; k < size; ++k)
          bits |= std::uint64_t{group.ahead[static_cast<std::size_t>(k)] < most}
                  << (first - begin + k);
      }
      *mask.words_from(row, begin / Mask::word_bits) = bits;
    }
  });
}

}  // namespace pare::detail
