#include "pare/pruning/refit.hpp"

#include <Eigen/Cholesky>
#include <cmath>
#include <vector>

#include "pare/core/eigen.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "support/catch.hpp"
#include "support/pruned_layer.hpp"

using namespace pare;
using test::CorrelatedLayer;
using test::hessian_loss;

namespace {

Mask mask_of(Index rows, Index cols, std::uint32_t of_ten, std::uint64_t seed = 5) {
  Random random(seed);
  Mask mask(rows, cols);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) mask.set(i, j, random.below(10) < of_ten);
  return mask;
}

/// (H_SS + lambda) w_S = H_S: t + lambda t_S, in plain double.
Eigen::VectorXd solved_in_double(const CorrelatedLayer& layer, const Mask& mask, Index row,
                                 double lambda) {
  const Eigen::MatrixXd h = eigen_map(layer.h.matrix().view());
  const Eigen::VectorXd t = eigen_map(layer.w.view()).row(row).cast<double>().transpose();
  const Eigen::VectorXd right = h * t;
  std::vector<Index> kept;
  for (Index j = 0; j < h.rows(); ++j)
    if (mask(row, j)) kept.push_back(j);
  const auto k = static_cast<Index>(kept.size());
  Eigen::MatrixXd a(k, k);
  Eigen::VectorXd b(k);
  for (Index i = 0; i < k; ++i) {
    const Index at = kept[static_cast<std::size_t>(i)];
    b(i) = right(at) + lambda * t(at);
    for (Index j = 0; j < k; ++j) a(i, j) = h(at, kept[static_cast<std::size_t>(j)]);
    a(i, i) += lambda;
  }
  const Eigen::VectorXd x = a.llt().solve(b);
  Eigen::VectorXd w = Eigen::VectorXd::Zero(h.rows());
  for (Index i = 0; i < k; ++i) w(kept[static_cast<std::size_t>(i)]) = x(i);
  return w;
}

}  // namespace

TEST_CASE("refit solves the normal equations of each row") {
  for (const auto& [rows, cols] :
       {Shape<2>{1, 1}, Shape<2>{3, 17}, Shape<2>{9, 70}, Shape<2>{2, 130}}) {
    const CorrelatedLayer layer(rows, cols);
    for (const std::uint32_t kept : {0u, 3u, 7u, 10u}) {
      const Mask mask = mask_of(rows, cols, kept);
      for (const double damping : {0.0, 0.01}) {
        CAPTURE(rows, cols, kept, damping);
        const PruneResult result = refit(layer.w, layer.h, mask, {.damping = damping});
        CHECK(result.mask == mask);
        for (Index i = 0; i < rows; ++i) {
          double mean = 0.0;
          for (Index j = 0; j < cols; ++j)
            mean += layer.h.diagonal()[j] / static_cast<double>(cols);
          const Eigen::VectorXd expected = solved_in_double(layer, mask, i, damping * mean);
          for (Index j = 0; j < cols; ++j) {
            CHECK(static_cast<double>(result.weight(i, j)) ==
                  Approx(expected(j)).epsilon(1e-5).margin(1e-5));
            if (!mask(i, j)) CHECK(result.weight(i, j) == 0.0f);
          }
        }
        Matrix<float> masked = layer.w;
        mask.apply(masked);
        const Matrix<double> h = layer.h.matrix();
        const double before = hessian_loss(layer.w, masked, h),
                     after = hessian_loss(layer.w, result.weight, h);
        CHECK(after <= before * (1.0 + 1e-6));
        CHECK(result.report.loss_before == Approx(before).epsilon(1e-9).margin(1e-12));
        CHECK(result.report.loss == Approx(after).epsilon(1e-9).margin(1e-12));
      }
    }
  }
}

TEST_CASE("rows that share a support share its factor") {
  const CorrelatedLayer layer(12, 40);
  Mask mask(12, 40);
  for (Index i = 0; i < 12; ++i)
    for (Index j = 0; j < 40; ++j) mask.set(i, j, (j + i % 3) % 2 == 0 || j < i % 3);
  const PruneResult together = refit(layer.w, layer.h, mask);
  CHECK(together.report.factorizations == 3);
  for (Index i = 0; i < 12; ++i) {
    Mask own(1, 40);
    for (Index j = 0; j < 40; ++j) own.set(0, j, mask(i, j));
    const PruneResult alone = refit(layer.w.view().slice(0, i, 1), layer.h, own);
    for (Index j = 0; j < 40; ++j)
      CHECK(alone.weight(0, j) == Approx(together.weight(i, j)).epsilon(1e-6).margin(1e-7));
  }
}

TEST_CASE("refit does not depend on threads, and damps what is singular") {
  const CorrelatedLayer layer(20, 150, 60);
  const Mask mask = mask_of(20, 150, 5);
  const PruneResult serial = refit(layer.w, layer.h, mask, {.damping = 0.0});
  const PruneResult parallel =
      refit(layer.w, layer.h, mask, {.damping = 0.0}, {.parallel_for = OpenMpFor(3)});
  CHECK(serial.weight == parallel.weight);
  CHECK(serial.report.loss == parallel.report.loss);
  CHECK(serial.report.damping_used > 0.0);
  CHECK(serial.report.loss < 0.1 * serial.report.loss_before);
}

TEST_CASE("inputs that were always zero lose their weights") {
  const CorrelatedLayer layer(3, 20, 100, 8, {4, 9});
  const PruneResult result = refit(layer.w, layer.h, mask_of(3, 20, 8));
  CHECK(result.report.dead_inputs == 2);
  for (Index i = 0; i < 3; ++i) CHECK(result.weight(i, 4) == 0.0f);
}

TEST_CASE("a consumer reproduces the dense output as well as it can") {
  // Inputs with a mean, the last channels a mixture of the first.
  const Index tokens = 120, n = 18, rows = 5;
  Matrix<float> x = test::random_matrix(tokens, n, 1);
  for (Index t = 0; t < tokens; ++t)
    for (Index j = 0; j < n; ++j) {
      if (j >= 12) x(t, j) = 0.1f * x(t, j) + x(t, j - 12) - 0.5f * x(t, j - 8);
      x(t, j) += 0.3f * static_cast<float>(j % 4);
    }
  Hessian h(n);
  h.add(x);
  Vector<float> mean({n});
  for (Index t = 0; t < tokens; ++t)
    for (Index j = 0; j < n; ++j) mean[j] += x(t, j) / static_cast<float>(tokens);
  const Matrix<float> w = test::random_matrix(rows, n, 2);
  std::vector<Index> kept;
  for (Index j = 0; j < 12; ++j) kept.push_back(j);

  const Eigen::MatrixXd dense =
      eigen_map(x.view()).cast<double>() * eigen_map(w.view()).cast<double>().transpose();
  for (const bool intercept : {false, true}) {
    Eigen::MatrixXd a(tokens, 12 + (intercept ? 1 : 0));
    a.leftCols(12) = eigen_map(x.view()).cast<double>().leftCols(12);
    if (intercept) a.col(12).setOnes();
    const Eigen::MatrixXd best = (a.transpose() * a).ldlt().solve(a.transpose() * dense);
    const ConsumerRefit result = refit_consumer(
        w, h, kept, intercept ? mean.view() : VectorView<const float>{}, {.damping = 0.0});
    CAPTURE(intercept);
    REQUIRE(result.weight.shape() == Shape<2>{rows, 12});
    REQUIRE(result.bias_change.size() == (intercept ? rows : 0));
    for (Index i = 0; i < rows; ++i) {
      for (Index p = 0; p < 12; ++p)
        CHECK(static_cast<double>(result.weight(i, p)) == Approx(best(p, i)).margin(1e-4));
      if (intercept)
        CHECK(static_cast<double>(result.bias_change[i]) == Approx(best(12, i)).margin(1e-4));
    }
    const double loss = 2.0 / static_cast<double>(tokens) * (dense - a * best).squaredNorm();
    CHECK(result.report.loss == Approx(loss).epsilon(1e-3));
    CHECK(result.report.loss < 0.1 * result.report.loss_before);
  }
}

TEST_CASE("refit refuses what does not fit") {
  const CorrelatedLayer layer(4, 10);
  CHECK_THROWS_AS(refit(layer.w, layer.h, Mask(4, 9)), ShapeError);
  CHECK_THROWS_AS(refit(Matrix<float>({4, 9}), layer.h, Mask(4, 9)), ShapeError);
  CHECK_THROWS_AS(refit(layer.w, layer.h, Mask(4, 10), {.damping = -0.1}), ArgumentError);
  CHECK_THROWS_AS(refit(layer.w, Hessian(10), Mask(4, 10)), ArgumentError);
  Matrix<float> w = layer.w;
  w(0, 1) = std::nanf("");
  CHECK_THROWS_AS(refit(w, layer.h, Mask(4, 10)), NumericError);
  for (const std::vector<Index>& kept : {std::vector<Index>{0, 0}, std::vector<Index>{3, 1},
                                         std::vector<Index>{-1}, std::vector<Index>{10}})
    CHECK_THROWS_AS(refit_consumer(layer.w, layer.h, kept), ArgumentError);
  CHECK_THROWS_AS(refit_consumer(layer.w, layer.h, std::vector<Index>{1}, Vector<float>({9})),
                  ShapeError);
  CHECK(refit_consumer(layer.w, layer.h, {}).weight.cols() == 0);
}
