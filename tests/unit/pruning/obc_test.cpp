#include "pare/pruning/obc.hpp"

#include <cmath>
#include <limits>
#include <string>

#include "pare/core/parallel_openmp.hpp"
#include "pare/pruning/obs.hpp"
#include "support/catch.hpp"
#include "support/pruned_layer.hpp"
#include "support/pruning_oracle.hpp"

using namespace pare;
using test::CorrelatedLayer;
using test::hessian_loss;

namespace {

struct ObcCase {
  test::PruningOracle oracle;
  Matrix<float> w = oracle.matrix("obc.weight");
  Hessian h = Hessian::from_matrix(oracle.matrix("obc.hessian").view(), 5);
};

void check_near_authors(const Matrix<float>& result, const Matrix<float>& expected) {
  float largest = 0.0f, difference = 0.0f;
  Index zeros_differ = 0;
  for (Index k = 0; k < expected.size(); ++k) {
    largest = std::max(largest, std::fabs(expected.data()[k]));
    difference = std::max(difference, std::fabs(result.data()[k] - expected.data()[k]));
    zeros_differ += (result.data()[k] == 0.0f) != (expected.data()[k] == 0.0f);
  }
  CHECK(difference <= 1e-4f * largest);
  CHECK(zeros_differ == 0);
}

/// The definition: every row's cheapest weight goes, by obs_costs and obs_eliminate, and the others
/// move, until `steps` are gone.
Matrix<double> removed_one_by_one(const CorrelatedLayer& layer, double lambda, Index steps) {
  const Index rows = layer.w.rows(), n = layer.w.cols();
  Matrix<double> damped = layer.h.matrix(), result(layer.w.view());
  for (Index j = 0; j < n; ++j) damped(j, j) += lambda;
  for (Index i = 0; i < rows; ++i) {
    Matrix<double> inverse = symmetric_inverse(damped);
    std::vector<char> gone(static_cast<std::size_t>(n));
    for (Index step = 0; step < steps; ++step) {
      Index best = -1;
      for (Index j = 0; j < n; ++j) {
        const auto cost = [&](Index q) { return result(i, q) * result(i, q) / inverse(q, q); };
        if (!gone[static_cast<std::size_t>(j)] && (best < 0 || cost(j) < cost(best))) best = j;
      }
      const double factor = result(i, best) / inverse(best, best);
      for (Index j = 0; j < n; ++j) result(i, j) -= factor * inverse(j, best);
      result(i, best) = 0.0;
      gone[static_cast<std::size_t>(best)] = 1;
      obs_eliminate(inverse, best);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("obc agrees with the authors' code") {
  const ObcCase test;
  const ObcPath path(test.w, test.h);
  const Matrix<float> losses = test.oracle.matrix("obc.losses");
  for (Index i = 0; i < 6; ++i)
    for (Index step = 0; step < 32; ++step)
      CHECK(0.5 * path.costs()(i, step) == Approx(losses(i, step + 1)).epsilon(1e-4).margin(1e-9));
  for (const std::string name : {"0.25", "0.5", "0.75"}) {
    CAPTURE(name);
    const auto meta = test.oracle.meta("obc." + name);
    const PruneResult pruned =
        obc(test.w, test.h,
            {.selection = {.sparsity = meta.at("sparsity"), .rounding = CountRounding::up}});
    check_near_authors(pruned.weight, test.oracle.matrix("obc." + name + ".result"));
    CHECK(hessian_loss(test.w, pruned.weight, test.h.matrix()) <=
          1.0001 * meta.at("loss").get<double>());
    CHECK(pruned.report.loss == Approx(meta.at("loss").get<double>()).epsilon(1e-4));
    for (Index i = 0; i < 6; ++i)
      CHECK(32 - pruned.mask.kept_in_row(i) ==
            meta.at("zeros_per_row").at(static_cast<std::size_t>(i)).get<Index>());
    CHECK(pruned.report.dead_inputs == 1);
  }
}

TEST_CASE("obc in N:M and blocks agrees with the authors' code") {
  const ObcCase test;
  const PruneResult pairs = obc(test.w, test.h, {.selection = {.keep = 2, .of = 4}});
  check_near_authors(pairs.weight, test.oracle.matrix("obc.2:4.result"));
  CHECK(pairs.mask.is_n_of_m(2, 4));
  const auto meta = test.oracle.meta("obc.2:4");
  CHECK(pairs.report.loss == Approx(meta.at("loss").get<double>()).epsilon(1e-4));

  const ObcPath path(test.w, test.h, 4);
  const Matrix<float> losses = test.oracle.matrix("obc.block4.0.5.losses");
  for (Index i = 0; i < 6; ++i)
    for (Index step = 0; step < 8; ++step)
      CHECK(0.5 * path.costs()(i, step) == Approx(losses(i, step + 1)).epsilon(1e-4).margin(1e-9));
  const PruneResult blocks =
      obc(test.w, test.h, {.selection = {.block_cols = 4, .rounding = CountRounding::up}});
  check_near_authors(blocks.weight, test.oracle.matrix("obc.block4.0.5.result"));
}

TEST_CASE("obc is one exact OBS removal after the other") {
  const CorrelatedLayer layer(3, 21, 100, 8);
  for (const Index steps : {0, 1, 9, 20, 21}) {
    CAPTURE(steps);
    const PruneResult pruned =
        obc(layer.w, layer.h,
            {.selection = {.count = steps, .scope = SelectionScope::row}, .damping = 0.01});
    const Matrix<double> expected = removed_one_by_one(layer, pruned.report.lambda, steps);
    for (Index k = 0; k < expected.size(); ++k)
      CHECK(static_cast<double>(pruned.weight.data()[k]) ==
            Approx(expected.data()[k]).epsilon(1e-5).margin(1e-6));
  }
}

TEST_CASE("the costs of a path add up to its error") {
  const CorrelatedLayer layer(4, 24, 100, 8);
  for (const Index block : {1, 2, 3}) {
    const ObcPath path(layer.w, layer.h, block, 0.0);
    double sum = 0.0;
    const Index half = path.costs().cols() / 2;
    for (Index i = 0; i < 4; ++i)
      for (Index step = 0; step < half; ++step) sum += path.costs()(i, step);
    CHECK(path.remove_in_each_row(half).report.loss == Approx(sum).epsilon(1e-5));
  }
}

TEST_CASE("obc does not depend on threads") {
  const CorrelatedLayer layer(70, 48);
  for (const Selection& selection :
       {Selection{}, Selection{.keep = 1, .of = 3}, Selection{.block_cols = 6}}) {
    const PruneResult serial = obc(layer.w, layer.h, {.selection = selection, .damping = 0.01});
    const PruneResult parallel = obc(layer.w, layer.h, {.selection = selection, .damping = 0.01},
                                     {.parallel_for = OpenMpFor(3)});
    CHECK(serial.weight == parallel.weight);
    CHECK(serial.report.loss == parallel.report.loss);
  }
}

TEST_CASE("a Hessian that is not definite is damped") {
  const CorrelatedLayer layer(3, 32, 10, 4);
  const PruneResult pruned = obc(layer.w, layer.h);
  CHECK(pruned.report.damping_used > 0.0);
  CHECK(pruned.report.loss <= pruned.report.loss_before);
  CHECK(pruned.mask.kept() == 48);
}

TEST_CASE("obc refuses what it cannot do") {
  const CorrelatedLayer layer(2, 32);
  CHECK_THROWS_WITH(obc(Matrix<float>({2, 1028}), Hessian(1028)),
                    ContainsSubstring("up to 1024 inputs, not 1028"));
  CHECK_THROWS_AS(obc(layer.w, Hessian(31)), ShapeError);
  CHECK_THROWS_AS(obc(layer.w, layer.h, {.selection = {.block_cols = 5}}), ArgumentError);
  CHECK_THROWS_AS(obc(layer.w, layer.h, {.selection = {.block_rows = 2}}), ArgumentError);
  CHECK_THROWS_AS(obc(layer.w, layer.h, {.selection = {.sparsity = 1.1}}), ArgumentError);
  CHECK_THROWS_AS(obc(layer.w, layer.h, {.selection = {.keep = 3, .of = 2}}), ArgumentError);
  CHECK_THROWS_AS(obc(layer.w, layer.h, {.damping = -1.0}), ArgumentError);
  CHECK_THROWS_AS(ObcPath(layer.w, layer.h).remove(65), ArgumentError);
  Matrix<float> w = layer.w;
  w(1, 2) = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(obc(w, layer.h), NumericError);
}
