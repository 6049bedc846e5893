#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace pare {

/// Dense streams of unsigned numbers of `bits` bits (1..8), first number in the lowest bits of
/// the first unit: number k is in bits [k b, (k + 1) b). `Word` is the unit of storage.
template <class Word>
[[nodiscard]] constexpr Index packed_words(Index count, int bits) noexcept {
  return ceil_div(count * bits, static_cast<Index>(8 * sizeof(Word)));
}

/// Writes `values` to `words`, which is zeroed first. Throws ShapeError when `words` is too short.
template <class Word>
constexpr void pack_bits(std::span<const std::uint8_t> values, int bits, std::span<Word> words) {
  constexpr Index word_bits = 8 * static_cast<Index>(sizeof(Word));
  if (static_cast<Index>(words.size()) <
      packed_words<Word>(static_cast<Index>(values.size()), bits))
    throw ShapeError("packing " + std::to_string(values.size()) + " codes needs more than " +
                     std::to_string(words.size()) + " words");
  for (Word& word : words) word = 0;
  Index position = 0;
  for (const std::uint8_t value : values) {
    const Index word = position / word_bits, shift = position % word_bits;
    words[static_cast<std::size_t>(word)] |= static_cast<Word>(static_cast<Word>(value) << shift);
    if (shift + bits > word_bits)
      words[static_cast<std::size_t>(word + 1)] |=
          static_cast<Word>(static_cast<Word>(value) >> (word_bits - shift));
    position += bits;
  }
}

/// Reads `values` back. Throws ShapeError when `words` is too short.
template <class Word>
constexpr void unpack_bits(std::span<const Word> words, int bits, std::span<std::uint8_t> values) {
  constexpr Index word_bits = 8 * static_cast<Index>(sizeof(Word));
  if (static_cast<Index>(words.size()) <
      packed_words<Word>(static_cast<Index>(values.size()), bits))
    throw ShapeError(std::to_string(words.size()) + " words are too few for " +
                     std::to_string(values.size()) + " codes");
  const unsigned mask = (1u << bits) - 1u;
  Index position = 0;
  for (std::uint8_t& value : values) {
    const Index word = position / word_bits, shift = position % word_bits;
    unsigned bits_read = static_cast<unsigned>(words[static_cast<std::size_t>(word)] >> shift);
    if (shift + bits > word_bits)
      bits_read |= static_cast<unsigned>(words[static_cast<std::size_t>(word + 1)])
                   << (word_bits - shift);
    value = static_cast<std::uint8_t>(bits_read & mask);
    position += bits;
  }
}

}  // namespace pare
