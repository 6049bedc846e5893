#include "pare/core/lanes.hpp"

#include <cmath>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

TEST_CASE("lane loops reach every element of arrays of any length", "[core]") {
  for (Index count = 0; count <= 19; ++count) {
    CAPTURE(count);
    float a[20], b[20];
    Random random(static_cast<std::uint64_t>(count));
    for (float& v : a) v = random.uniform(-1.0f, 1.0f);
    for (float& v : b) v = random.uniform(-1.0f, 1.0f);
    double sum = 0.0;
    float expected[20];
    for (Index i = 0; i < 20; ++i) expected[i] = i < count ? a[i] - b[i] : a[i];
    for (Index i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * b[i];
    CHECK(std::abs(detail::dot(a, b, count) - sum) < 1e-14);
    detail::transform(a, b, count, a, [](float x, float y) { return x - y; });
    for (Index i = 0; i < 20; ++i) CHECK(a[i] == expected[i]);
  }
}
