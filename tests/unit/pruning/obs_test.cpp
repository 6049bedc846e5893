#include "pare/pruning/obs.hpp"

#include <Eigen/LU>
#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "pare/core/eigen.hpp"
#include "pare/pruning/woodfisher.hpp"
#include "support/catch.hpp"
#include "support/pruned_layer.hpp"
#include "support/pruning_oracle.hpp"

using namespace pare;

namespace {

struct ObsProblem {
  Matrix<double> h, inverse;
  Vector<double> w;

  explicit ObsProblem(Index n) : h(test::CorrelatedLayer(1, n, 80, 4).h.matrix()), w({n}) {
    for (Index j = 0; j < n; ++j) h(j, j) += 0.1;
    inverse = symmetric_inverse(h);
    const Matrix<float> random = test::random_matrix(1, n, 9);
    for (Index j = 0; j < n; ++j) w[j] = random(0, j);
  }
  /// dwᵀ H dw / 2
  double cost(const Vector<double>& moved) const {
    const Eigen::Map<const Eigen::VectorXd> a(moved.data(), moved.size()), b(w.data(), w.size());
    return 0.5 * (a - b).dot(eigen_map(h.view()) * (a - b));
  }
};

}  // namespace

TEST_CASE("a joint removal agrees with formula and oracle") {
  const test::PruningOracle oracle;
  const Matrix<float> gradients = oracle.matrix("fisher.per_sample_grads");
  const Matrix<float> w = oracle.matrix("fisher.w0");
  WoodFisher fisher({8, 6}, 40, {.damping = 1e-3});
  fisher.add(gradients.view().slice(1, 0, 48));
  const auto kept = oracle.values<std::uint8_t>("woodfisher.0.3.mask");
  Vector<double> flat({48});
  std::vector<Index> removed;
  for (Index k = 0; k < 48; ++k) {
    flat[k] = w.data()[k];
    if (kept[static_cast<std::size_t>(k)] == 0) removed.push_back(k);
  }
  const ObsRemoval result = obs_remove(flat, fisher.inverse(0), removed);
  const auto meta = oracle.meta("obs_joint");
  CHECK(result.cost == Approx(meta.at("cost").get<double>()).epsilon(1e-6));
  const auto expected = oracle.values<float>("obs_joint.result");
  for (Index k = 0; k < 48; ++k)
    CHECK(result.weight[k] ==
          Approx(expected[static_cast<std::size_t>(k)]).epsilon(1e-5).margin(1e-6));
}

TEST_CASE("a removal zeroes its set, and costs what it says") {
  for (const Index n : {1, 2, 17, 70}) {
    const ObsProblem problem(n);
    for (const Index step : {1, 2, 5}) {
      std::vector<Index> removed;
      for (Index q = n - 1; q >= 0; q -= step) removed.push_back(q);
      const ObsRemoval result = obs_remove(problem.w, problem.inverse, removed);
      CAPTURE(n, step);
      CHECK(result.cost == Approx(problem.cost(result.weight)).epsilon(1e-8));
      for (const Index q : removed) CHECK(result.weight[q] == 0.0);
      // The gradient is zero where weights are free.
      const Eigen::Map<const Eigen::VectorXd> a(result.weight.data(), n), b(problem.w.data(), n);
      const Eigen::VectorXd gradient = eigen_map(problem.h.view()) * (a - b);
      for (Index j = 0; j < n; ++j)
        if ((n - 1 - j) % step != 0) CHECK(std::fabs(gradient(j)) < 1e-8);
    }
    CHECK(obs_remove(problem.w, problem.inverse, {}).weight == problem.w);
  }
}

TEST_CASE("removals of single weights, one after the other, are a joint one") {
  const ObsProblem problem(12);
  const std::vector<Index> removed{3, 0, 11, 7};
  const ObsRemoval joint = obs_remove(problem.w, problem.inverse, removed);
  Matrix<double> inverse = problem.inverse;
  Vector<double> w = problem.w;
  double cost = 0.0;
  for (const Index q : removed) {
    cost += w[q] * w[q] / (2.0 * inverse(q, q));
    const double factor = w[q] / inverse(q, q);
    for (Index j = 0; j < 12; ++j) w[j] -= factor * inverse(j, q);
    obs_eliminate(inverse, q);
    for (Index j = 0; j < 12; ++j) CHECK(inverse(q, j) == 0.0);
  }
  CHECK(cost == Approx(joint.cost).epsilon(1e-9));
  for (Index j = 0; j < 12; ++j) CHECK(w[j] == Approx(joint.weight[j]).margin(1e-10));
  // The rest of the inverse is that of the Hessian without those weights.
  std::vector<Index> left;
  for (Index j = 0; j < 12; ++j)
    if (std::find(removed.begin(), removed.end(), j) == removed.end()) left.push_back(j);
  Eigen::MatrixXd h(8, 8), eliminated(8, 8);
  for (Index i = 0; i < 8; ++i)
    for (Index j = 0; j < 8; ++j) {
      const Index a = left[static_cast<std::size_t>(i)], b = left[static_cast<std::size_t>(j)];
      h(i, j) = problem.h(a, b);
      eliminated(i, j) = inverse(a, b);
    }
  CHECK((h * eliminated - Eigen::MatrixXd::Identity(8, 8)).cwiseAbs().maxCoeff() < 1e-9);
}

TEST_CASE("costs are those of single removals") {
  const ObsProblem problem(9);
  const Vector<double> costs = obs_costs(problem.w, problem.inverse);
  for (Index q = 0; q < 9; ++q)
    CHECK(costs[q] == Approx(obs_remove(problem.w, problem.inverse, std::array{q}).cost));
}

TEST_CASE("OBS refuses what means nothing") {
  ObsProblem problem(4);
  CHECK_THROWS_AS(obs_costs(Vector<double>({3}), problem.inverse), ShapeError);
  CHECK_THROWS_AS(obs_remove(problem.w, problem.inverse, std::array<Index, 1>{4}), ArgumentError);
  CHECK_THROWS_AS(obs_remove(problem.w, problem.inverse, std::array<Index, 2>{1, 1}),
                  ArgumentError);
  CHECK_THROWS_AS(obs_eliminate(problem.inverse, -1), ArgumentError);
  CHECK_THROWS_AS(symmetric_inverse(Matrix<double>({2, 3})), ShapeError);
  CHECK_THROWS_AS(symmetric_inverse(Matrix<double>({2, 2})), NumericError);
  problem.inverse(2, 2) = -1.0;
  CHECK_THROWS_AS(obs_costs(problem.w, problem.inverse), NumericError);
  CHECK_THROWS_AS(obs_remove(problem.w, problem.inverse, std::array<Index, 1>{2}), NumericError);
  CHECK_THROWS_AS(obs_eliminate(problem.inverse, 2), NumericError);
}
