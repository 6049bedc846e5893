#include "pare/formats/nf4.hpp"

#include <cmath>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

static_assert(Format<NF4> && !NF4::is_integer);

/// The nearest entry by plain search; the lower one of two equally near.
int nearest_entry(double normalized) {
  int best = 0;
  for (int i = 1; i < 16; ++i)
    if (std::fabs(normalized - double{NF4::codebook[static_cast<std::size_t>(i)]}) <
        std::fabs(normalized - double{NF4::codebook[static_cast<std::size_t>(best)]}))
      best = i;
  return best;
}

}  // namespace

TEST_CASE("the NF4 codebook ascends from -1 over 0 to 1", "[formats]") {
  for (std::size_t i = 0; i + 1 < 16; ++i) CHECK(NF4::codebook[i] < NF4::codebook[i + 1]);
  CHECK(NF4::codebook[0] == -1.0f);
  CHECK(NF4::codebook[7] == 0.0f);
  CHECK(NF4::codebook[15] == 1.0f);
}

TEST_CASE("NF4 takes the nearest entry of the codebook", "[formats]") {
  Random random(11);
  for (const float scale : {1.0f, 0.25f, 1024.0f})
    for (int i = 0; i < 2000; ++i) {
      const float value = random.uniform(-1.1f, 1.1f);
      REQUIRE(int{NF4::encode(value * scale, {scale})} == nearest_entry(double{value}));
    }
}

TEST_CASE("NF4 codes encode back and a midpoint takes the lower code", "[formats]") {
  for (std::uint8_t code = 0; code < 16; ++code) {
    CHECK(NF4::encode(NF4::decode(code, {4.0f}), {4.0f}) == code);
    CHECK(NF4::decode(code, {4.0f}) == 4.0f * NF4::codebook[code]);
  }
  const float middle = (NF4::codebook[14] + NF4::codebook[15]) * 0.5f;
  CHECK(NF4::encode(middle, {1.0f}) == 14);
  CHECK(NF4::encode(std::nextafter(middle, 2.0f), {1.0f}) == 15);
  CHECK(NF4::encode(1e30f, {1.0f}) == 15);
  CHECK(NF4::encode(-1e30f, {1.0f}) == 0);
}

TEST_CASE("an NF4 scale is the largest magnitude, and 1 for zeros", "[formats]") {
  CHECK(NF4::fit({-3.0f, 2.0f}, {}).scale == 3.0f);
  CHECK(NF4::fit({0.0f, 0.0f}, {}).scale == 1.0f);
  CHECK(NF4::encode(0.0f, NF4::fit({0.0f, 0.0f}, {})) == 7);
}
