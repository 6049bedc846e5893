#include "pare/solvers/symmetric_inverse.hpp"

#include <Eigen/LU>
#include <cmath>
#include <limits>

#include "pare/core/eigen.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

/// Positive definite, with rows that differ in size.
Matrix<double> definite(Index n) {
  const Matrix<float> x = test::random_matrix(2 * n + 3, n, 3);
  Matrix<double> a({n, n});
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      for (Index t = 0; t < x.rows(); ++t)
        a(i, j) += static_cast<double>(x(t, i)) * static_cast<double>(x(t, j)) *
                   std::exp2(static_cast<double>(i % 3 + j % 3));
  return a;
}

}  // namespace

TEST_CASE("a symmetric inverse is one, for sizes around the blocks") {
  for (const Index n : {0, 1, 2, 17, 63, 64, 65, 130, 257}) {
    CAPTURE(n);
    Matrix<double> a = definite(n);
    const Matrix<double> whole = a;
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < i; ++j) a(i, j) = std::numeric_limits<double>::quiet_NaN();
    const Matrix<double> inverse = symmetric_inverse(a);
    CHECK(symmetric_inverse(a, {.parallel_for = OpenMpFor(3)}) == inverse);
    if (n == 0) continue;
    const Eigen::MatrixXd product = eigen_map(whole.view()) * eigen_map(inverse.view());
    CHECK((product - Eigen::MatrixXd::Identity(n, n)).cwiseAbs().maxCoeff() < 1e-9);
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < i; ++j) REQUIRE(inverse(i, j) == inverse(j, i));
  }
}

TEST_CASE("the inverse in float32 is that in float64, rounded") {
  const Index n = 150;
  const Matrix<double> a = definite(n), expected = symmetric_inverse(a);
  Matrix<float> inverse({n, n});
  const auto fill = [&](Index i, double* row) {
    for (Index j = i; j < n; ++j) row[j] = a(i, j);
  };
  REQUIRE(detail::symmetric_inverse_of<float>(fill, inverse.view(), {}));
  double largest = 0.0;
  for (Index k = 0; k < inverse.size(); ++k)
    largest = std::max(largest, std::fabs(expected.data()[k]));
  for (Index k = 0; k < inverse.size(); ++k)
    CHECK(std::fabs(static_cast<double>(inverse.data()[k]) - expected.data()[k]) <= 1e-6 * largest);
}

TEST_CASE("what has no inverse is refused") {
  Matrix<double> a({2, 2});
  a(0, 0) = a(1, 1) = 1.0;
  a(0, 1) = 1.0;
  CHECK_THROWS_WITH(symmetric_inverse(a), ContainsSubstring("not positive definite"));
  CHECK_THROWS_AS(symmetric_inverse(Matrix<double>({2, 3})), ShapeError);
  a(0, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_AS(symmetric_inverse(a), NumericError);
}
