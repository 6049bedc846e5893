#include "pare/formats/bit_packing.hpp"

#include <vector>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

template <class Word>
std::vector<Word> packed(const std::vector<std::uint8_t>& values, int bits) {
  std::vector<Word> words(
      static_cast<std::size_t>(packed_words<Word>(static_cast<Index>(values.size()), bits)));
  pack_bits<Word>(values, bits, words);
  return words;
}

template <class Word>
std::vector<std::uint8_t> unpacked(const std::vector<Word>& words, int bits, std::size_t count) {
  std::vector<std::uint8_t> values(count);
  unpack_bits<Word>(words, bits, values);
  return values;
}

}  // namespace

TEMPLATE_TEST_CASE("packed codes of any width unpack to themselves", "[formats]", std::uint8_t,
                   std::uint16_t, std::uint32_t, std::uint64_t) {
  Random random(2);
  for (int bits = 1; bits <= 8; ++bits)
    for (const std::size_t count : {0u, 1u, 3u, 17u, 31u, 32u, 33u, 100u}) {
      std::vector<std::uint8_t> values(count);
      for (std::uint8_t& v : values) v = static_cast<std::uint8_t>(random.below(1u << bits));
      const auto words = packed<TestType>(values, bits);
      REQUIRE(unpacked(words, bits, count) == values);
      // Written out: bit b of value k is bit (k bits + b) of the stream.
      constexpr std::size_t word_bits = 8 * sizeof(TestType);
      for (std::size_t k = 0; k < count; ++k)
        for (std::size_t b = 0; b < static_cast<std::size_t>(bits); ++b) {
          const std::size_t position = k * static_cast<std::size_t>(bits) + b;
          REQUIRE((words[position / word_bits] >> (position % word_bits) & 1u) ==
                  (values[k] >> b & 1u));
        }
    }
}

TEST_CASE("words of GPTQ checkpoints have their known values", "[formats]") {
  std::vector<std::uint8_t> nibbles(8), stream(32);
  for (std::size_t k = 0; k < 8; ++k) nibbles[k] = static_cast<std::uint8_t>(k);
  for (std::size_t k = 0; k < 32; ++k) stream[k] = static_cast<std::uint8_t>((5 * k + 3) % 8);
  CHECK(packed<std::uint32_t>(nibbles, 4) == std::vector<std::uint32_t>{0x76543210u});
  CHECK(packed<std::uint32_t>(stream, 3) ==
        std::vector<std::uint32_t>{0x43C67543u, 0x7543C675u, 0xC67543C6u});
  CHECK(packed<std::uint8_t>({0xA, 0x3}, 4) == std::vector<std::uint8_t>{0x3A});
}

TEST_CASE("packing zeroes what it does not fill", "[formats]") {
  std::vector<std::uint32_t> words(3, 0xffffffffu);
  pack_bits<std::uint32_t>(std::vector<std::uint8_t>{1}, 3, words);
  CHECK(words == std::vector<std::uint32_t>{1, 0, 0});
}

TEST_CASE("memory too short for the codes is refused", "[formats]") {
  std::vector<std::uint8_t> values(11);
  std::vector<std::uint32_t> words(1);
  CHECK_THROWS_AS(pack_bits<std::uint32_t>(values, 3, words), ShapeError);
  CHECK_THROWS_AS(unpack_bits<std::uint32_t>(words, 3, values), ShapeError);
  values.resize(10);
  CHECK_NOTHROW(pack_bits<std::uint32_t>(values, 3, words));
}
