#include "pare/formats/rounding.hpp"

#include <cmath>
#include <limits>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

TEST_CASE("rounding is to nearest, ties to even", "[formats]") {
  const struct {
    float x, expected;
  } cases[] = {
      {0.5f, 0},   {1.5f, 2},        {2.5f, 2},        {-0.5f, 0},      {-1.5f, -2},
      {-2.5f, -2}, {0.49999997f, 0}, {0.50000006f, 1}, {7.4999995f, 7}, {4194303.5f, 4194304}};
  for (const auto& c : cases) CHECK(round_half_even(c.x) == c.expected);

  Random random(1);
  for (int i = 0; i < 10000; ++i) {
    const float x = random.uniform(-4000.0f, 4000.0f);
    REQUIRE(round_half_even(x) == std::nearbyint(x));
    const float tie = std::floor(x) + 0.5f;
    REQUIRE(round_half_even(tie) == std::nearbyint(tie));
  }
}

TEST_CASE("codes are clipped after the zero point is added", "[formats]") {
  const struct {
    float quotient;
    int zero_point, lo, hi, expected;
  } cases[] = {{0.5f, 0, -8, 7, 0},
               {0.5f, 1, 0, 15, 1},
               {1.5f, 1, 0, 15, 3},
               {7.49f, 0, -8, 7, 7},
               {7.5f, 0, -8, 7, 7},
               {100.0f, 0, -8, 7, 7},
               {-8.5f, 0, -8, 7, -8},
               {-100.0f, 0, -8, 7, -8},
               {-3.2f, 3, 0, 15, 0},
               {12.6f, 3, 0, 15, 15},
               {1e30f, 3, 0, 15, 15},
               {-1e30f, 3, 0, 15, 0},
               {2097151.5f, 0, 0, 1 << 21, 2097152}};
  for (const auto& c : cases) {
    CAPTURE(c.quotient, c.zero_point);
    CHECK(round_to_code(c.quotient, c.zero_point, c.lo, c.hi) == c.expected);
  }
  CHECK(round_to_code(std::numeric_limits<float>::infinity(), 0, -8, 7) == 7);
  CHECK(round_to_code(-std::numeric_limits<float>::infinity(), 0, -8, 7) == -8);
  CHECK(round_to_code(std::numeric_limits<float>::quiet_NaN(), 0, -8, 7) == -8);
  static_assert(round_to_code(2.5f, 4, 0, 15) == 6);
}
