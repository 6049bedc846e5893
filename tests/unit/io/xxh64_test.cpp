#include "pare/io/xxh64.hpp"

#include <cstdint>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("hashes are those of the xxHash library, whole and in pieces", "[xxh64]") {
  std::vector<std::byte> bytes;
  for (unsigned i = 0; i < 101; ++i) bytes.push_back(static_cast<std::byte>(i * 7 + 3));
  // python: xxhash.xxh64_intdigest(bytes((7 * i + 3) % 256 for i in range(n)))
  const std::pair<std::size_t, std::uint64_t> expected[] = {
      {0, 0xef46db3751d8e999},   {1, 0x1f25c8d0bc1f4bb6},  {4, 0x9bb64b7d66ee9fda},
      {7, 0x9a7b149959ce60d8},   {8, 0xdab99d95c6f90092},  {13, 0xf78b031308f5bfc8},
      {31, 0xa2aa5f33cc4a6119},  {32, 0x23c3c17ef790fd97}, {33, 0x50a7cfc7ba588784},
      {63, 0x5e3e54b431c7493c},  {64, 0xeb64b3ef6eeb01f},  {100, 0xa61f8d4c170fe531},
      {101, 0xbad4d3bf033bda4c},
  };
  for (const auto& [size, hash] : expected) {
    CAPTURE(size);
    const auto all = std::span(bytes).first(size);
    CHECK(xxh64(all) == hash);
    for (std::size_t first = 0; first <= size; first += Xxh64::stripe_bytes) {
      Xxh64 pieces;
      pieces.add(all.first(first));
      CHECK(pieces.finish(all.subspan(first)) == hash);
    }
  }
}
