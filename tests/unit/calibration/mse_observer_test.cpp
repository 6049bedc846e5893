#include "pare/calibration/mse_observer.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "pare/formats/all.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

template <class F>
double error(const Histogram& h, Range range) {
  const auto p = F::fit(range, {});
  double sum = 0.0;
  for (Index b = -Histogram::bins; b < Histogram::bins; ++b) {
    const double centre = std::clamp<double>((static_cast<double>(b) + 0.5) * h.bin_width(),
                                             h.range().lo, h.range().hi);
    const auto v = static_cast<float>(centre);
    sum += static_cast<double>(h.count(b)) *
           std::pow(double{F::decode(F::encode(v, p), p)} - double{v}, 2);
  }
  return sum;
}

}  // namespace

TEST_CASE("no candidate has a smaller squared error", "[calibration]") {
  Matrix<float> x = test::random_matrix(40, 50, 2);
  x(3, 3) = 12.0f;
  MseObserver observer;
  observer.observe(x);
  const Histogram& h = observer.histogram();
  for_each_type(TypeList<Int<2>, Int<8>, UInt<4>, NF4>{}, [&]<class F>(TypeTag<F>) {
    double least = error<F>(h, h.range());
    for (Index i = 128; i < Histogram::bins; i += 7) {
      const auto t = static_cast<float>((static_cast<double>(i) + 0.5) * h.bin_width());
      const Range range =
          F::has_zero_point ? Range{std::max(h.range().lo, -t), std::min(12.0f, t)} : Range{-t, t};
      if (t <= 12.0f) least = std::min(least, error<F>(h, range));
    }
    CAPTURE(F::name);
    CHECK(error<F>(h, observer.range<F>()) <= least * (1.0 + 1e-9));
  });
}

TEST_CASE("a rare outlier is clipped at few bits and kept at many", "[calibration]") {
  // 1000 values each of -1 and 1, and one 2. At 2 bits (codes -2..1, scale T / 1.5) T = 2 rounds
  // the ones to 4/3: error 2000 / 9. T = 1.5 makes them exact and loses 1 on the outlier.
  std::vector<float> values{2.0f};
  for (int i = 0; i < 1000; ++i) {
    values.push_back(1.0f);
    values.push_back(-1.0f);
  }
  MseObserver observer;
  observer.observe(values);
  // Bins are 1/512 wide and their centres 1/1024 off.
  CHECK(observer.range<Int<2>>().hi == Approx(1.5f).margin(0.01));
  CHECK(observer.range<Int<8>>().hi > 1.9f);
}

TEST_CASE("no candidate is preferred over an equally good observed range", "[calibration]") {
  MseObserver observer;
  observer.observe(std::vector<float>(50, 3.0f));
  CHECK(observer.range<UInt<8>>().hi == 3.0f);
  CHECK(observer.range<UInt<8>>().lo == 3.0f);
  CHECK(observer.params<UInt<8>>() == UInt<8>::Parameters{3.0f / 255.0f, 0});
}

TEST_CASE("on normal values few bits clip more than many", "[calibration]") {
  MseObserver observer;
  observer.observe(test::random_matrix(200, 100, 6));
  const float two = observer.range<Int<2>>().hi, four = observer.range<Int<4>>().hi,
              eight = observer.range<Int<8>>().hi;
  CHECK(two < four);
  CHECK(four < eight);
  // The known best clips of a normal distribution, in standard deviations, lie near these.
  CHECK(four == Approx(2.6).margin(0.2));
  CHECK(eight == Approx(3.9).margin(0.3));
}
