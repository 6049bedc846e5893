#include "pare/calibration/entropy_observer.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

using Counts = std::vector<std::uint64_t>;

/// KL(P || Q) for the first `i` bins, by the steps of the published calibrator.
double divergence(Counts counts, std::size_t i, std::size_t levels) {
  counts[0] = counts[1];
  std::vector<double> sum(levels), non_empty(levels), p(i), q(i);
  double outside = 0.0, p_total = 0.0, q_total = 0.0;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    const auto c = static_cast<double>(counts[k]);
    if (k >= i) {
      outside += c;
    } else if (c > 0.0) {
      sum[k * levels / i] += c;
      non_empty[k * levels / i] += 1.0;
      p[k] = c;
    }
  }
  p[i - 1] += outside;
  for (std::size_t k = 0; k < i; ++k) {
    if (counts[k] > 0) q[k] = sum[k * levels / i] / non_empty[k * levels / i];
    p_total += p[k];
    q_total += q[k];
  }
  double kl = 0.0;
  for (std::size_t k = 0; k < i; ++k)
    if (p[k] > 0.0) {
      if (q[k] == 0.0) return std::numeric_limits<double>::infinity();
      kl += p[k] / p_total * std::log(p[k] / p_total / (q[k] / q_total));
    }
  return kl;
}

std::vector<std::pair<const char*, Histogram>> distributions() {
  Matrix<float> normal = test::random_matrix(60, 100, 1);
  Matrix<float> heavy = normal, positive = normal, outlier = normal, coarse = normal;
  for (Index k = 0; k < normal.size(); ++k) {
    const float v = normal.data()[k];
    heavy.data()[k] = v * v * v;
    positive.data()[k] = std::fabs(v);
    coarse.data()[k] = std::nearbyint(v * 4.0f);
  }
  outlier(7, 7) = 60.0f;
  std::vector<std::pair<const char*, Histogram>> result;
  const auto add = [&](const char* name, const Matrix<float>& x) {
    Histogram histogram;
    histogram.add(x);
    result.emplace_back(name, histogram);
  };
  add("normal", normal);
  add("heavy", heavy);
  add("positive", positive);
  add("outlier", outlier);
  add("coarse", coarse);
  return result;
}

}  // namespace

TEST_CASE("the threshold has the least divergence by the published steps", "[calibration]") {
  for (const auto& [name, histogram] : distributions())
    for (const Index levels : {8, 128}) {
      const Counts counts = histogram.magnitudes();
      const auto best = static_cast<std::size_t>(EntropyMethod::best_bins(counts, levels));
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t i = 128; i <= counts.size(); ++i)
        least = std::min(least, divergence(counts, i, static_cast<std::size_t>(levels)));
      CAPTURE(name, levels, best);
      REQUIRE(best >= 128);
      CHECK(divergence(counts, best, static_cast<std::size_t>(levels)) <= least + 1e-12);
    }
}

TEST_CASE("a flat histogram with an outlier keeps it, a rough one drops it", "[calibration]") {
  // 128 bins of 1000 and one value in the last of 2048. With all bins each of the 128 levels
  // averages equal counts: P = Q. Cut after 129 to 2047 bins, the outlier lands on an empty bin.
  Counts counts(2048);
  for (std::size_t k = 0; k < 128; ++k) counts[k] = 1000;
  counts[2047] = 1;
  CHECK(EntropyMethod::best_bins(counts, 128) == 2048);
  // Counts of 1000 and 3000 in turn are averaged to 2000 by wide levels (divergence 0.13), while
  // 128 bins keep them apart and add one value to the last.
  for (std::size_t k = 1; k < 128; k += 2) counts[k] = 3000;
  CHECK(EntropyMethod::best_bins(counts, 128) == 128);
}

TEST_CASE("a histogram that the levels reproduce is not cut", "[calibration]") {
  // Each of 200 bins has a level of its own; every cut moves counts into its last bin.
  Counts counts(200, 7);
  CHECK(EntropyMethod::best_bins(counts, 256) == 200);
}

TEST_CASE("the number of zeros does not matter", "[calibration]") {
  for (const auto& [name, histogram] : distributions()) {
    Counts counts = histogram.magnitudes();
    const Index best = EntropyMethod::best_bins(counts, 128);
    counts[0] += 1000000000;
    CAPTURE(name);
    CHECK(EntropyMethod::best_bins(counts, 128) == best);
  }
}

TEST_CASE("few bins in use leave the observed range", "[calibration]") {
  CHECK(EntropyMethod::best_bins({}, 128) == 0);
  CHECK(EntropyMethod::best_bins({5}, 128) == 1);
  CHECK(EntropyMethod::best_bins(Counts(128, 1), 128) == 128);
}

TEST_CASE("the range is the right edge of the chosen bins within what was observed",
          "[calibration]") {
  Matrix<float> x = test::random_matrix(60, 100, 3);
  x(0, 0) = 9.0f;
  EntropyObserver observer;
  observer.observe(x);
  const Histogram& h = observer.histogram();
  const double edge =
      h.bin_width() * static_cast<double>(EntropyMethod::best_bins(h.magnitudes(), 128));
  REQUIRE(edge < 9.0);
  CHECK(observer.range<Int<8>>().hi == static_cast<float>(edge));
  CHECK(observer.range<Int<8>>().lo == -static_cast<float>(edge));
  CHECK(observer.params<Int<8>>().scale == static_cast<float>(edge) / 127.0f);
  CHECK(observer.range<UInt<8>>().hi == static_cast<float>(edge));
  CHECK(observer.range<UInt<8>>().lo == std::fmax(h.range().lo, -static_cast<float>(edge)));
}

TEST_CASE("values of one sign use all levels of a format with a zero point", "[calibration]") {
  Matrix<float> x = test::random_matrix(60, 100, 4);
  for (Index k = 0; k < x.size(); ++k) x.data()[k] = -std::fabs(x.data()[k]);
  EntropyObserver observer;
  observer.observe(x);
  const Histogram& h = observer.histogram();
  const double edge =
      h.bin_width() * static_cast<double>(EntropyMethod::best_bins(h.magnitudes(), 16));
  const Range range = observer.range<UInt<4>>();
  CHECK(range.lo == -static_cast<float>(std::fmin(edge, double{h.range().absmax()})));
  CHECK(range.hi == h.range().hi);
}
