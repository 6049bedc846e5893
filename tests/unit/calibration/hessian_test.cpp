#include "pare/calibration/hessian.hpp"

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using pare::test::random_matrix;

namespace {

double largest_difference(const Matrix<double>& a, const Matrix<double>& b) {
  double worst = 0.0;
  for (Index k = 0; k < a.size(); ++k)
    worst = std::max(worst, std::fabs(a.data()[k] - b.data()[k]));
  return worst;
}

}  // namespace

TEST_CASE("the Hessian is twice the mean outer product of the tokens") {
  for (const Index n : {1, 3, 33, 130}) {
    const Matrix<float> x = random_matrix(333, n, 1);
    Hessian hessian(n);
    hessian.add(x.view().slice(0, 0, 100));
    hessian.add(x.view().slice(0, 100, 0));
    hessian.add(x.view().slice(0, 100, 233));
    CHECK(hessian.count() == 333);
    const Matrix<double> h = hessian.matrix();
    const Vector<double> diagonal = hessian.diagonal();
    for (Index i = 0; i < n; ++i) {
      CHECK(diagonal[i] == h(i, i));
      for (Index j = 0; j < n; ++j) {
        double sum = 0.0;
        for (Index t = 0; t < 333; ++t) sum += static_cast<double>(x(t, i)) * x(t, j);
        REQUIRE(h(i, j) == Approx(2.0 / 333.0 * sum).margin(1e-5));
        REQUIRE(h(i, j) == h(j, i));
      }
    }
  }
}

TEST_CASE("merged Hessians equal one that saw all tokens") {
  const Matrix<float> x = random_matrix(200, 20, 2);
  Hessian whole(20), first(20), second(20);
  whole.add(x.view().slice(0, 0, 150));
  whole.add(x.view().slice(0, 150, 50));
  first.add(x.view().slice(0, 0, 150));
  second.add(x.view().slice(0, 150, 50));
  first.merge(second);
  CHECK(first.count() == 200);
  CHECK(largest_difference(first.matrix(), whole.matrix()) <= 1e-14);
  CHECK_THROWS_AS(first.merge(Hessian(19)), ShapeError);
}

TEST_CASE("a stored Hessian gives the same matrix and can go on") {
  const Matrix<float> x = random_matrix(100, 12, 3);
  Hessian whole(12), half(12);
  half.add(x.view().slice(0, 0, 60));
  const Matrix<double> stored = half.matrix();
  Hessian loaded = Hessian::from_matrix(stored.view(), half.count());
  CHECK(loaded.count() == 60);
  CHECK(largest_difference(loaded.matrix(), stored) <= 1e-14);
  loaded.add(x.view().slice(0, 60, 40));
  whole.add(x);
  CHECK(largest_difference(loaded.matrix(), whole.matrix()) <= 1e-5);
  const Matrix<float> rounded(stored.view());
  CHECK(largest_difference(Hessian::from_matrix(rounded, 60).matrix(), stored) <= 1e-6);
}

TEST_CASE("the Hessian reads strided activations") {
  const Matrix<float> x = random_matrix(50, 8, 4);
  const Matrix<float> transposed(x.view().transposed());
  Hessian expected(8), strided(8);
  expected.add(x);
  strided.add(transposed.view().transposed());
  CHECK(strided.matrix() == expected.matrix());
}

TEST_CASE("a Hessian names a bad activation and stays as it was") {
  Hessian hessian(4);
  Matrix<float> x = random_matrix(5, 4, 5);
  hessian.add(x);
  const Matrix<double> before = hessian.matrix();
  x(3, 2) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(hessian.add(x), Catch::Contains("NaN at [3, 2]"));
  x(3, 2) = -std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(hessian.add(x), NumericError);
  CHECK(hessian.count() == 5);
  CHECK(hessian.matrix() == before);
  CHECK_THROWS_AS(hessian.add(Matrix<float>({2, 3})), ShapeError);
}

TEST_CASE("a Hessian without tokens has no matrix") {
  const Hessian hessian(4);
  CHECK_THROWS_AS(hessian.matrix(), ArgumentError);
  CHECK_THROWS_AS(hessian.diagonal(), ArgumentError);
  CHECK_THROWS_AS(Hessian(-1), ShapeError);
}

TEST_CASE("a stored Hessian must be square, finite and of some tokens") {
  Matrix<double> h({2, 2});
  CHECK_THROWS_AS(Hessian::from_matrix(Matrix<float>({2, 3}), 5), ShapeError);
  CHECK_THROWS_AS(Hessian::from_matrix(h, 0), ArgumentError);
  h(0, 1) = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(Hessian::from_matrix(h, 5), Catch::Contains("[0, 1]"));
}
