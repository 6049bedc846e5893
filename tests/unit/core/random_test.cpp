#include "pare/core/random.hpp"

#include <cmath>
#include <random>
#include <vector>

#include "support/catch.hpp"

using namespace pare;

namespace {

static_assert(std::uniform_random_bit_generator<Random>);

}  // namespace

TEST_CASE("the generator gives xoshiro256++ seeded by SplitMix64", "[core]") {
  // Worked out with a separate implementation of the two published generators in Python.
  const struct {
    std::uint64_t seed;
    std::uint64_t expected[4];
  } cases[] = {
      {0, {0x53175d61490b23dfu, 0x61da6f3dc380d507u, 0x5c0fdf91ec9a7bfcu, 0x02eebf8c3bbe5e1au}},
      {42, {0xd0764d4f4476689fu, 0x519e4174576f3791u, 0xfbe07cfb0c24ed8cu, 0xb37d9f600cd835b8u}},
      {~std::uint64_t{0},
       {0x56ccf8ce948e27b2u, 0xe68588432e5a5b90u, 0xe3e9b5a48119ca8bu, 0x460f19495532ae73u}}};
  for (const auto& c : cases) {
    Random random(c.seed);
    for (const std::uint64_t expected : c.expected) CHECK(random() == expected);
  }
}

TEST_CASE("derived distributions have their first values", "[core]") {
  Random uniform(42), below(42), normal(42);
  CHECK(uniform.uniform() == 0.8143051266670227f);
  CHECK(uniform.uniform() == 0.3188210129737854f);
  CHECK(uniform.uniform(-2.0f, 2.0f) == Approx(4 * 0.9838941097259521 - 2));
  for (const unsigned expected : {8u, 3u, 9u, 7u, 7u, 5u, 1u, 6u})
    CHECK(below.below(10) == expected);
  for (const double expected : {-0.7689930538210061, -0.8684461074702454, -1.5109749830006707})
    CHECK(normal.normal() == Approx(expected).epsilon(1e-6));
}

TEST_CASE("uniform numbers stay in range and normal ones have their moments", "[core]") {
  Random random(7);
  double sum = 0.0, squares = 0.0, uniform_sum = 0.0;
  constexpr int count = 100000;
  for (int i = 0; i < count; ++i) {
    const float u = random.uniform();
    REQUIRE((u >= 0.0f && u < 1.0f));
    uniform_sum += u;
    const double n = random.normal();
    REQUIRE(std::isfinite(n));
    sum += n;
    squares += n * n;
  }
  // Five standard deviations of each estimate.
  CHECK(std::fabs(uniform_sum / count - 0.5) < 5 * std::sqrt(1.0 / 12 / count));
  CHECK(std::fabs(sum / count) < 5 / std::sqrt(count));
  CHECK(std::fabs(squares / count - 1.0) < 5 * std::sqrt(2.0 / count));
}
