#include "pare/calibration/per_channel.hpp"

#include <limits>

#include "pare/calibration/min_max_observer.hpp"
#include "pare/calibration/percentile_observer.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

TEST_CASE("every channel has the parameters of its own observer", "[calibration]") {
  for (const Index channels : {1, 3, 17, 33}) {
    Matrix<float> x = test::random_matrix(20, channels);
    for (Index j = 0; j < channels; ++j)
      for (Index i = 0; i < 20; ++i) x(i, j) *= static_cast<float>(j + 1);
    PerChannel<PercentileObserver> all(channels, PercentileObserver({.percentile = 80.0}));
    all.observe(x);
    all.observe(x.view().slice(0, 3, 5));
    CHECK(all.count() == 25);
    const Vector<UInt<8>::Parameters> params = all.params<UInt<8>>();
    REQUIRE(params.size() == channels);
    for (Index j = 0; j < channels; ++j) {
      PercentileObserver one({.percentile = 80.0});
      one.observe(x.view().select(1, j));
      one.observe(x.view().slice(0, 3, 5).select(1, j));
      REQUIRE(params[j] == one.params<UInt<8>>());
      REQUIRE(all[j].histogram() == one.histogram());
    }
  }
}

TEST_CASE("merged channels equal the whole", "[calibration]") {
  const Matrix<float> x = test::random_matrix(20, 7);
  PerChannel<MinMaxObserver> whole(7), first(7), second(7);
  whole.observe(x);
  first.observe(x.view().slice(0, 0, 4));
  second.observe(x.view().slice(0, 4, 16));
  first.merge(second);
  CHECK(first.count() == 20);
  CHECK(first.params<Int<8>>() == whole.params<Int<8>>());
}

TEST_CASE("the order in which channels are observed changes nothing", "[calibration]") {
  const Matrix<float> x = test::random_matrix(20, 7);
  const auto backwards = [](Index count, ParallelFor::Body body) {
    for (Index i = count; i-- > 0;) body(i);
  };
  PerChannel<PercentileObserver> serial(7), parallel(7);
  serial.observe(x);
  parallel.observe(x, backwards);
  CHECK(serial.params<Int<8>>() == parallel.params<Int<8>>({}, backwards));
}

TEST_CASE("the rows of a weight are the channels of its transpose", "[calibration]") {
  const Matrix<float> w = test::random_matrix(3, 9);
  PerChannel<MinMaxObserver> rows(3);
  rows.observe(w.view().transposed());
  CHECK(rows[2].range().hi == range_of(&w(2, 0), 9).hi);
}

TEST_CASE("wrong channels, NaN and empty channels are refused", "[calibration]") {
  Matrix<float> x = test::random_matrix(4, 3);
  PerChannel<MinMaxObserver> observer(3);
  CHECK_THROWS_AS(observer.params<Int<8>>(), ArgumentError);
  CHECK_THROWS_AS(observer.observe(test::random_matrix(4, 2)), ShapeError);
  CHECK_THROWS_AS(observer.merge(PerChannel<MinMaxObserver>(2)), ShapeError);
  CHECK_THROWS_AS(PerChannel<MinMaxObserver>(-1), ArgumentError);
  x(3, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(observer.observe(x), "the observed batch holds NaN at [3, 1]");
  CHECK(observer.count() == 0);
  CHECK(PerChannel<MinMaxObserver>(0).params<Int<8>>().empty());
}
