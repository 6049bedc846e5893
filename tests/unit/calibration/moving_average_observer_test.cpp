#include "pare/calibration/moving_average_observer.hpp"

#include <vector>

#include "pare/formats/uint.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

MovingAverageObserver averaging(double constant, const std::vector<std::vector<float>>& batches) {
  MovingAverageObserver observer(constant);
  for (const auto& batch : batches) observer.observe(batch);
  return observer;
}

}  // namespace

TEST_CASE("the first batch initialises the moving average", "[calibration]") {
  const auto observer = averaging(0.01, {{-2, 7, 1}});
  CHECK(observer.range().lo == -2.0f);
  CHECK(observer.range().hi == 7.0f);
  CHECK(observer.batches() == 1);
}

TEST_CASE("later batches move the average by the constant", "[calibration]") {
  const auto half = averaging(0.5, {{0, 8}, {-4, 0}, {4, 4}});
  CHECK(half.range().lo == 1.0f);  // 0 -> -2 -> 1
  CHECK(half.range().hi == 4.0f);  // 8 -> 4 -> 4
  CHECK(half.count() == 6);
  const auto slow = averaging(0.01, {{0, 100}, {0, 200}});
  CHECK(slow.range().hi == 101.0f);
  const auto last = averaging(1.0, {{-9, 8}, {-4, 30}, {-51, 204}});
  CHECK(last.params<UInt<8>>() == UInt<8>::Parameters{1.0f, 51});
}

TEST_CASE("merging answers as if the other's batches came after", "[calibration]") {
  const Matrix<float> x = test::random_matrix(40, 9);
  for (const double constant : {0.01, 0.3, 1.0})
    for (const Index cut : {0, 1, 2, 20, 39, 40}) {
      MovingAverageObserver whole(constant), first(constant), second(constant);
      for (Index i = 0; i < 40; ++i) {
        whole.observe(x.row(i));
        (i < cut ? first : second).observe(x.row(i));
      }
      first.merge(second);
      CAPTURE(constant, cut);
      CHECK(first.range().lo == Approx(whole.range().lo).epsilon(1e-6));
      CHECK(first.range().hi == Approx(whole.range().hi).epsilon(1e-6));
      CHECK(first.count() == whole.count());
      CHECK(first.batches() == 40);
    }
}

TEST_CASE("merging is associative up to rounding", "[calibration]") {
  const auto a = averaging(0.2, {{0, 1}, {0, 5}}), b = averaging(0.2, {{0, 9}}),
             c = averaging(0.2, {{0, 2}, {0, 30}, {0, 4}});
  auto left = a, right = b, turned = c;
  left.merge(b);
  left.merge(c);
  right.merge(c);
  auto nested = a;
  nested.merge(right);
  turned.merge(a);
  turned.merge(b);
  CHECK(nested.range().hi == Approx(left.range().hi).epsilon(1e-7));
  CHECK(turned.range().hi != Approx(left.range().hi).epsilon(1e-3));
}

TEST_CASE("constants outside (0, 1] and merges of different ones are refused", "[calibration]") {
  for (const double constant : {0.0, -0.1, 1.01}) {
    CAPTURE(constant);
    CHECK_THROWS_AS(MovingAverageObserver(constant), ArgumentError);
  }
  auto observer = averaging(0.1, {{1}});
  CHECK_THROWS_AS(observer.merge(averaging(0.2, {{1}})), ArgumentError);
}
