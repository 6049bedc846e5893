#include "pare/calibration/activation_statistics.hpp"

#include <cmath>
#include <limits>

#include "pare/core/parallel_openmp.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using pare::test::random_matrix;

TEST_CASE("activation statistics are the mean and the maximum of magnitudes per channel") {
  for (const Index n : {1, 17, 300}) {
    const Matrix<float> x = random_matrix(90, n);
    ActivationStatistics whole(n), first(n), second(n);
    whole.add(x, {.parallel_for = OpenMpFor(2)});
    first.add(x.view().slice(0, 0, 33));
    second.add(x.view().slice(0, 33, 57));
    first.merge(second);
    CHECK(whole.count() == 90);
    CHECK(first.count() == 90);
    const Vector<float> mean = whole.mean_abs(), largest = whole.absmax();
    const Vector<float> merged = first.mean_abs();
    float lowest = x(0, 0), highest = x(0, 0);
    for (Index j = 0; j < n; ++j) {
      double sum = 0.0;
      float channel_max = 0.0f;
      for (Index t = 0; t < 90; ++t) {
        sum += std::fabs(static_cast<double>(x(t, j)));
        channel_max = std::max(channel_max, std::fabs(x(t, j)));
        lowest = std::min(lowest, x(t, j));
        highest = std::max(highest, x(t, j));
      }
      REQUIRE(mean[j] == static_cast<float>(sum / 90.0));
      REQUIRE(merged[j] == Approx(mean[j]).epsilon(1e-7));
      REQUIRE(largest[j] == channel_max);
    }
    CHECK(first.absmax() == largest);
    CHECK(whole.min() == lowest);
    CHECK(whole.max() == highest);
  }
}

TEST_CASE("activation statistics read strided views and zero tokens") {
  const Matrix<float> x = random_matrix(20, 6);
  const Matrix<float> transposed(x.view().transposed());
  ActivationStatistics expected(6), strided(6);
  expected.add(x);
  strided.add(transposed.view().transposed());
  strided.add(x.view().slice(0, 3, 0));
  CHECK(strided.mean_abs() == expected.mean_abs());
  CHECK(strided.absmax() == expected.absmax());
}

TEST_CASE("a channel that was always zero has mean and maximum zero") {
  ActivationStatistics statistics(2);
  Matrix<float> x({3, 2});
  x(1, 1) = -2.0f;
  statistics.add(x);
  CHECK(statistics.mean_abs()[0] == 0.0f);
  CHECK(statistics.absmax()[0] == 0.0f);
  CHECK(statistics.absmax()[1] == 2.0f);
}

TEST_CASE("activation statistics refuse what they cannot use and stay as they were") {
  ActivationStatistics statistics(3);
  CHECK_THROWS_AS(statistics.mean_abs(), ArgumentError);
  CHECK_THROWS_AS(statistics.absmax(), ArgumentError);
  CHECK_THROWS_AS(statistics.min(), ArgumentError);
  Matrix<float> x = random_matrix(4, 3);
  statistics.add(x);
  const Vector<float> before = statistics.mean_abs();
  x(2, 1) = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH(statistics.add(x), Catch::Contains("infinity at [2, 1]"));
  CHECK_THROWS_AS(statistics.add(Matrix<float>({2, 4})), ShapeError);
  CHECK_THROWS_AS(statistics.merge(ActivationStatistics(2)), ShapeError);
  CHECK(statistics.count() == 4);
  CHECK(statistics.mean_abs() == before);
}
