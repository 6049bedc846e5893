#include "pare/solvers/inverse_factor.hpp"

#include <Eigen/Cholesky>
#include <cmath>
#include <limits>

#include "pare/core/eigen.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

/// (2 / tokens) sum of x xᵀ for random tokens whose channels share a common part.
Matrix<double> random_hessian(Index n, Index tokens, std::uint64_t seed) {
  Random random(seed);
  Eigen::MatrixXd x(tokens, n);
  for (Index t = 0; t < tokens; ++t) {
    const double common = random.normal();
    for (Index j = 0; j < n; ++j) x(t, j) = random.normal() + 0.5 * common;
  }
  const Eigen::MatrixXd h = 2.0 / static_cast<double>(tokens) * x.transpose() * x;
  return Matrix<double>(matrix_view(h));
}

/// inverse(h + lambda I) = Uᵀ U in float64.
Eigen::MatrixXd eigen_factor(const Matrix<double>& h, double lambda) {
  Eigen::MatrixXd damped = eigen_map(h.view());
  damped.diagonal().array() += lambda;
  const Eigen::MatrixXd inverse = damped.llt().solve(Eigen::MatrixXd::Identity(h.rows(), h.rows()));
  return inverse.llt().matrixU();
}

/// Largest element of Uᵀ U (h + lambda I) - I.
double inverse_residual(const InverseFactor& factor, const Matrix<double>& h) {
  Eigen::MatrixXd damped = eigen_map(h.view());
  damped.diagonal().array() += factor.lambda;
  const Eigen::MatrixXd u = eigen_map(factor.upper.view()).cast<double>();
  const Eigen::MatrixXd product = u.transpose() * (u * damped);
  return (product - Eigen::MatrixXd::Identity(h.rows(), h.rows())).cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("the inverse factor equals Eigen's for sizes around the block") {
  for (const Index n : {1, 2, 3, 17, 127, 128, 129, 257, 300}) {
    const Matrix<double> h = random_hessian(n, 2 * n + 1, 7);
    for (const double damping : {0.0, 0.01, 1.0}) {
      const InverseFactor factor = inverse_factor(h, {.damping = damping});
      const Eigen::MatrixXd expected = eigen_factor(h, factor.lambda);
      const Eigen::MatrixXd u = eigen_map(factor.upper.view()).cast<double>();
      INFO("n " << n << " damping " << damping);
      CHECK(factor.attempts == 1);
      CHECK(factor.damping_used == damping);
      // One rounding to float32; the condition number of these matrices is at most 1e5.
      CHECK((u - expected).cwiseAbs().maxCoeff() <= 1e-7 * expected.cwiseAbs().maxCoeff());
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < i; ++j) REQUIRE(factor.upper(i, j) == 0.0f);
    }
  }
}

TEST_CASE("the inverse factor reads strided views and only their upper half") {
  const Index n = 140;
  const Matrix<double> h = random_hessian(n, 300, 3);
  const InverseFactor expected = inverse_factor(h);
  Matrix<double> memory({n, 2 * n + 3});
  const MatrixView<double> strided(memory.data(), {n, n}, {memory.cols(), 2});
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      strided(i, j) = j >= i ? h(i, j) : std::numeric_limits<double>::quiet_NaN();
  CHECK(inverse_factor(strided).upper == expected.upper);
  CHECK(inverse_factor(h.view().transposed()).upper == expected.upper);
}

TEST_CASE("the inverse factor does not depend on the number of threads") {
  const Matrix<double> h = random_hessian(400, 500, 5);
  const InverseFactor serial = inverse_factor(h);
  for (const int threads : {1, 2, 3})
    CHECK(inverse_factor(h, {}, {.parallel_for = OpenMpFor(threads)}).upper == serial.upper);
}

TEST_CASE("every kernel gives an inverse factor") {
  const Matrix<double> h = random_hessian(150, 200, 9);
  for (const KernelName kernel :
       {KernelName::reference, KernelName::portable, KernelName::avx2, KernelName::avx512})
    if (kernels::cpu_supports(kernel))
      CHECK(inverse_residual(inverse_factor(h, {}, {.force = kernel}), h) <= 1e-4);
}

TEST_CASE("a rank-deficient matrix needs its damping and no more") {
  const Matrix<double> h = random_hessian(200, 20, 11);
  const InverseFactor damped = inverse_factor(h);
  CHECK(damped.attempts == 1);
  CHECK(inverse_residual(damped, h) <= 1e-3);
  const InverseFactor escalated = inverse_factor(h, {.damping = 0.0});
  CHECK(escalated.attempts == 2);
  CHECK(escalated.damping_used == Approx(1e-5));
  CHECK(inverse_residual(escalated, h) <= 0.2);
}

TEST_CASE("an indefinite matrix is damped until it is positive definite") {
  Matrix<double> h = random_hessian(150, 400, 13);
  for (Index i = 0; i < 150; ++i) h(i, 149 - i) += 40.0;  // an eigenvalue near -40
  const InverseFactor factor = inverse_factor(h);
  CHECK(factor.attempts > 1);
  CHECK(factor.damping_used == Approx(0.01 * std::pow(10.0, factor.attempts - 1)));
  CHECK(inverse_residual(factor, h) <= 1e-4);
  CHECK(inverse_factor(h, {.escalation = 1.5}).damping_used < factor.damping_used);
}

TEST_CASE("a diagonal may hold zeros when its mean is positive") {
  Matrix<double> h({3, 3});
  h(1, 1) = 3.0;
  const InverseFactor factor = inverse_factor(h);
  CHECK(factor.lambda == Approx(0.01));
  CHECK(factor.upper(0, 0) == Approx(10.0));
  CHECK(factor.upper(1, 1) == Approx(1.0 / std::sqrt(3.01)));
}

TEST_CASE("the smallest matrices have an inverse factor") {
  CHECK(inverse_factor(Matrix<double>({0, 0})).upper.empty());
  Matrix<double> h({1, 1});
  h(0, 0) = 4.0;
  CHECK(inverse_factor(h, {.damping = 0.0}).upper(0, 0) == 0.5f);
}

TEST_CASE("the inverse factor refuses what has none") {
  CHECK_THROWS_AS(inverse_factor(Matrix<double>({2, 3})), ShapeError);
  CHECK_THROWS_AS(inverse_factor(Matrix<double>({2, 2})), NumericError);
  Matrix<double> h({2, 2});
  h(0, 0) = h(1, 1) = 1.0;
  h(0, 1) = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH(inverse_factor(h), Catch::Contains("[0, 1]"));
  h(0, 1) = 0.0;
  CHECK_THROWS_AS(inverse_factor(h, {.damping = -0.1}), ArgumentError);
  CHECK_THROWS_AS(inverse_factor(h, {.escalation = 1.0}), ArgumentError);
  h(0, 0) = h(1, 1) = 1e-80;
  CHECK_THROWS_AS(inverse_factor(h), NumericError);
}
