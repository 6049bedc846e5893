#include "pare/calibration/activation_moments.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::random_matrix;

namespace {

void check_moments(const Vector<float>& moments, const std::vector<float>& expected,
                   double margin = 1e-30) {
  REQUIRE(moments.size() == static_cast<Index>(expected.size()));
  for (Index j = 0; j < moments.size(); ++j)
    CHECK(static_cast<double>(moments[j]) ==
          Approx(static_cast<double>(expected[static_cast<std::size_t>(j)]))
              .epsilon(1e-6)
              .margin(margin));
}

}  // namespace

TEST_CASE("activation moments agree with those of FLAP and Wanda") {
  const test::PruningOracle oracle;
  const Tensor<float, 3> x = oracle.tensor<3>("wanda.activations");
  ActivationMoments moments(64);
  for (Index s = 0; s < x.extent(0); ++s) moments.add(x.row(s));
  CHECK(moments.count() == 96);
  check_moments(moments.mean(), oracle.values<float>("flap.WIFV.formula_mean"), 1e-7);
  check_moments(moments.mean(), oracle.values<float>("flap.WIFV.baseline"), 1e-7);
  check_moments(moments.variance(), oracle.values<float>("flap.WIFV.formula_fluc"));
  // Wanda's is the mean over sequences of sums over their 16 tokens.
  std::vector<float> per_token = oracle.values<float>("wanda.scaler_row");
  for (float& square : per_token) square /= 16.0f;
  check_moments(moments.mean_square(), per_token);
}

TEST_CASE("activation moments do not depend on cuts, layouts and threads") {
  const Matrix<float> x = random_matrix(150, 131);
  ActivationMoments whole(131), parallel(131), one_by_one(131), left(131), right(131), strided(131);
  whole.add(x);
  parallel.add(x, Execution{.parallel_for = OpenMpFor{}});
  CHECK(parallel.mean() == whole.mean());
  CHECK(parallel.variance() == whole.variance());
  const test::Strided<float> gaps(x);
  strided.add(gaps.view());
  CHECK(strided.variance() == whole.variance());
  for (Index t = 0; t < 150; ++t) one_by_one.add(x.view().slice(0, t, 1));
  left.add(x.view().slice(0, 0, 37));
  right.add(x.view().slice(0, 37, 113));
  left.merge(right);
  left.merge(ActivationMoments(131));
  left.add(x.view().slice(0, 5, 0));
  CHECK(left.count() == 150);
  for (const ActivationMoments* other : {&one_by_one, &left}) {
    for (Index j = 0; j < 131; ++j) {
      CHECK(other->mean()[j] == Approx(whole.mean()[j]).margin(1e-7));
      CHECK(other->variance()[j] == Approx(whole.variance()[j]).epsilon(1e-6));
      CHECK(other->mean_square()[j] == Approx(whole.mean_square()[j]).epsilon(1e-6));
    }
  }
}

TEST_CASE("a large mean costs the variance no digits") {
  Matrix<float> x = random_matrix(400, 1);
  double mean = 0.0, squares = 0.0;
  for (float& v : x) {
    v = 1e6f + std::round(16.0f * v) / 16.0f;
    mean += static_cast<double>(v) / 400.0;
  }
  for (const float v : x) squares += std::pow(static_cast<double>(v) - mean, 2.0);
  ActivationMoments moments(1);
  for (Index t = 0; t < 400; t += 8) moments.add(x.view().slice(0, t, 8));
  CHECK(moments.variance()[0] == Approx(squares / 399.0).epsilon(1e-6));
}

TEST_CASE("activation moments refuse what does not fit and stay as they were") {
  ActivationMoments moments(3);
  CHECK_THROWS_AS(moments.mean(), ArgumentError);
  CHECK_THROWS_AS(moments.mean_square(), ArgumentError);
  moments.add(random_matrix(1, 3));
  CHECK_THROWS_AS(moments.variance(), ArgumentError);
  moments.add(random_matrix(1, 3, 2));
  const Vector<float> variance = moments.variance();
  CHECK_THROWS_AS(moments.add(random_matrix(3, 1)), ShapeError);
  CHECK_THROWS_AS(moments.merge(ActivationMoments(2)), ShapeError);
  Matrix<float> broken = random_matrix(2, 3);
  broken(1, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(moments.add(broken), NumericError);
  CHECK(moments.variance() == variance);
  broken.fill(3e38f);
  broken(1, 2) = -3e38f;
  moments.add(broken);
  CHECK_THROWS_AS(moments.mean_square(), NumericError);
  CHECK_THROWS_AS(ActivationMoments(-1), ShapeError);
  CHECK(ActivationMoments(0).in_features() == 0);
}
