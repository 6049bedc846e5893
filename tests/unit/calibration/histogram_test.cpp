#include "pare/calibration/histogram.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/random.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

MatrixView<const float> row(const std::vector<float>& values) {
  return {values, {1, static_cast<Index>(values.size())}};
}

Histogram of(const std::vector<float>& values) {
  Histogram histogram;
  histogram.add(row(values));
  return histogram;
}

/// Finite floats of every exponent, zeros of both signs among them.
std::vector<float> floats_of_all_sizes(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values;
  while (values.size() < count) {
    const auto v = std::bit_cast<float>(static_cast<std::uint32_t>(random() >> 32));
    if (std::isfinite(v)) values.push_back(values.size() % 10 == 0 ? std::copysign(0.0f, v) : v);
  }
  return values;
}

}  // namespace

TEST_CASE("values fall into bins of magnitude on their side of zero", "[calibration]") {
  const Histogram h = of({-1024, -1023.5f, -1, -0.25f, -0.0f, 0, 0.75f, 1, 2047.9f});
  CHECK(h.bin_width() == 1.0);
  CHECK(h.total() == 9);
  const struct {
    Index bin;
    std::uint64_t count;
  } expected[] = {{-1025, 1}, {-1024, 1}, {-2, 1}, {-1, 1}, {0, 3}, {1, 1}, {2, 0}, {2047, 1}};
  for (const auto& e : expected) {
    CAPTURE(e.bin);
    CHECK(h.count(e.bin) == e.count);
  }
  CHECK(h.range().lo == -1024.0f);
  CHECK(h.range().hi == 2047.9f);
  const auto magnitudes = h.magnitudes();
  REQUIRE(magnitudes.size() == 2048);
  CHECK(magnitudes[0] == 4);
  CHECK(magnitudes[1] == 2);
  CHECK(magnitudes[1023] == 1);
  CHECK(magnitudes[1024] == 1);
}

TEST_CASE("bins are added in pairs until a larger value fits", "[calibration]") {
  Histogram h = of({-1025, -3, -2, 1, 2, 3, 1024});
  h.add(row({2048}));
  CHECK(h.bin_width() == 2.0);
  CHECK(h == of({-1025, -3, -2, 1, 2, 3, 1024, 2048}));
  const struct {
    Index bin;
    std::uint64_t count;
  } expected[] = {{-513, 1}, {-2, 2}, {-1, 0}, {0, 1}, {1, 2}, {512, 1}, {1024, 1}};
  for (const auto& e : expected) {
    CAPTURE(e.bin);
    CHECK(h.count(e.bin) == e.count);
  }
  h.add(row({-16384}));
  CHECK(h.bin_width() == 16.0);
  CHECK(h.count(0) == 3);
  CHECK(h.count(-1) == 2);
}

TEST_CASE("the largest magnitude is in the upper half of its bins", "[calibration]") {
  for (const float largest :
       {1e-36f, 0.3f, 1.0f, 0.99999994f, 7.0f, 1e30f, std::numeric_limits<float>::max()}) {
    CAPTURE(largest);
    CHECK(of({largest}).magnitudes().size() > 1024);
    CHECK(of({-largest}).magnitudes().size() > 1024);
  }
}

TEST_CASE("counts depend on the values alone, not on order or splitting", "[calibration]") {
  Random random(8);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> values = floats_of_all_sizes(400, seed);
    const Histogram whole = of(values);

    std::vector<Histogram> parts(4);
    for (const float v : values) parts[random.below(4)].add(row({v}));
    for (int order = 0; order < 2; ++order) {
      Histogram merged;
      for (std::size_t p = 0; p < 4; ++p) merged.merge(parts[order == 0 ? p : 3 - p]);
      REQUIRE(merged == whole);
    }
    Histogram pairs = parts[3], other = parts[0];
    pairs.merge(parts[1]);
    other.merge(parts[2]);
    other.merge(pairs);
    REQUIRE(other == whole);

    // The counts by definition, at the width found.
    std::vector<std::uint64_t> expected(static_cast<std::size_t>(2 * Histogram::bins));
    for (const float v : values) {
      const auto k = static_cast<Index>(std::floor(std::fabs(double{v}) / whole.bin_width()));
      ++expected[static_cast<std::size_t>(Histogram::bins + (v < 0 ? -k - 1 : k))];
    }
    for (Index b = -Histogram::bins; b < Histogram::bins; ++b)
      REQUIRE(whole.count(b) == expected[static_cast<std::size_t>(b + Histogram::bins)]);
  }
}

TEST_CASE("the sign of a zero extreme does not depend on the order", "[calibration]") {
  CHECK_FALSE(std::signbit(of({-0.0f, 0.0f}).range().lo));
  CHECK_FALSE(std::signbit(of({-0.0f}).range().hi));
}

TEST_CASE("zeros and subnormals are counted", "[calibration]") {
  CHECK(of({0, 0, 0}).count(0) == 3);
  CHECK(of({0, 0, 0}).magnitudes().size() == 1);
  const float smallest = std::numeric_limits<float>::denorm_min();
  Histogram h = of({0, smallest, -3 * smallest});
  CHECK(h.count(1) == 1);
  CHECK(h.count(-4) == 1);
  h.add(row({1e30f}));
  CHECK(h.count(0) == 2);
  CHECK(h.count(-1) == 1);
  CHECK(h.total() == 4);
}

TEST_CASE("one far outlier leaves the rest in the first bins", "[calibration]") {
  Histogram h;
  h.add(test::random_matrix(10, 100));
  h.add(row({1e30f}));
  CHECK(h.count(0) + h.count(-1) == 1000);
  CHECK(h.range().hi == 1e30f);
}

TEST_CASE("an empty histogram merges without effect", "[calibration]") {
  const Histogram empty;
  CHECK(empty.magnitudes().empty());
  Histogram h = of({1, 2, 3});
  h.merge(empty);
  h.add(row({}));
  CHECK(h == of({3, 2, 1}));
  Histogram target;
  target.merge(h);
  CHECK(target == h);
}

TEST_CASE("a refused batch leaves the histogram as it was", "[calibration]") {
  Histogram h = of({1, 2});
  CHECK_THROWS_WITH(h.add(row({5000, std::numeric_limits<float>::quiet_NaN()})),
                    "the observed batch holds NaN at [0, 1]");
  CHECK(h == of({1, 2}));
}
