#include "pare/calibration/percentile_observer.hpp"

#include <cmath>
#include <vector>

#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

/// Every whole number from `first` to `last`; with a magnitude of 1024 to 2047 each has a bin.
std::vector<float> whole_numbers(int first, int last) {
  std::vector<float> values;
  for (int v = first; v <= last; ++v) values.push_back(static_cast<float>(v));
  return values;
}

template <class F>
Range range_of_values(const std::vector<float>& values, const PercentileMethod& method) {
  PercentileObserver observer(method);
  observer.observe(values);
  return observer.range<F>();
}

constexpr auto outer = PercentileEdge::outer, inner = PercentileEdge::inner;

}  // namespace

TEST_CASE("a symmetric threshold is the percentile of the magnitudes", "[calibration]") {
  // 2000 values, one per bin: 99 % are the 1980 up to bin 1980.
  const std::vector<float> values = whole_numbers(1, 2000);
  const struct {
    PercentileMethod method;
    float threshold;
  } cases[] = {{{99.0, outer}, 1981}, {{99.0, inner}, 1980},  {{50.0, outer}, 1001},
               {{0.001, inner}, 1},   {{100.0, outer}, 2000}, {{100.0, inner}, 2000}};
  for (const auto& c : cases) {
    CAPTURE(c.method.percentile);
    CHECK(range_of_values<Int<8>>(values, c.method).hi == c.threshold);
    CHECK(range_of_values<Int<8>>(values, c.method).lo == -c.threshold);
  }
  PercentileObserver observer({.percentile = 99.0});
  observer.observe(values);
  CHECK(observer.params<Int<8>>().scale == 1981.0f / 127.0f);
}

TEST_CASE("with a zero point half of what is left out is cut on each side", "[calibration]") {
  // 2048 values: 75 % leaves out 256 on each side, so -768 and 767 are the last ones inside.
  const std::vector<float> values = whole_numbers(-1024, 1023);
  const Range wide = range_of_values<UInt<8>>(values, {75.0, outer});
  CHECK(wide.lo == -769.0f);
  CHECK(wide.hi == 768.0f);
  const Range narrow = range_of_values<UInt<8>>(values, {75.0, inner});
  CHECK(narrow.lo == -768.0f);
  CHECK(narrow.hi == 767.0f);

  // All of one sign: 1 % of 2000 are 10 on each side.
  const Range positive = range_of_values<UInt<8>>(whole_numbers(1, 2000), {99.0, outer});
  CHECK(positive.lo == 11.0f);
  CHECK(positive.hi == 1991.0f);
  const Range negative = range_of_values<UInt<8>>(whole_numbers(-2000, -1), {99.0, outer});
  CHECK(negative.lo == -1991.0f);
  CHECK(negative.hi == -11.0f);
}

TEST_CASE("99.99 of 10,000 values are exactly 9,999", "[calibration]") {
  std::vector<float> values(9999, 1.0f);
  values.push_back(1500.0f);
  CHECK(range_of_values<Int<8>>(values, {}).hi == 2.0f);
  CHECK(range_of_values<Int<8>>(values, {.edge = inner}).hi == 1.0f);
  CHECK(range_of_values<Int<8>>(values, {.percentile = 99.999}).hi == 1500.0f);
  CHECK(range_of_values<UInt<8>>(values, {.percentile = 99.98}).hi == 2.0f);
}

TEST_CASE("the range stays within what was observed", "[calibration]") {
  for (const PercentileEdge edge : {outer, inner}) {
    const Range r = range_of_values<UInt<8>>({-3.3f, 7.7f}, {100.0, edge});
    CHECK(r.lo >= -3.3f);
    CHECK(r.hi <= 7.7f);
  }
  CHECK(range_of_values<UInt<8>>({-3.3f, 7.7f}, {100.0, outer}).hi == 7.7f);
  CHECK(range_of_values<Int<8>>({-3.3f, 7.7f}, {100.0, outer}).hi == 7.7f);
}

TEST_CASE("the outer edge never covers nothing", "[calibration]") {
  std::vector<float> values(100000, 0.001f);
  values.push_back(1e6f);
  CHECK(range_of_values<Int<8>>(values, {99.9, outer}).hi == std::ldexp(1.0f, 9));
  CHECK(range_of_values<Int<8>>(values, {99.9, inner}).hi == 0.0f);
}

TEST_CASE("percentiles outside (0, 100] are refused", "[calibration]") {
  for (const double percentile : {0.0, -1.0, 100.1, std::nan("")}) {
    CAPTURE(percentile);
    CHECK_THROWS_AS(range_of_values<Int<8>>({1.0f}, {percentile, outer}), ArgumentError);
  }
}
