#include "pare/pruning/scores/movement.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

using namespace pare;
using test::PruningOracle;
using test::random_matrix;

TEST_CASE("movement agrees with the authors' code, step by step") {
  const PruningOracle oracle;
  const auto keep = oracle.meta("movement").at("keep").get<std::vector<double>>();
  MovementScores movement({8, 12});
  // The weight before the first step: SGD of rate 0.001.
  Matrix<float> w = oracle.matrix("movement.step0.weight_after");
  const Matrix<float> first = oracle.matrix("movement.step0.grad_weight");
  for (Index k = 0; k < w.size(); ++k) w.data()[k] += 0.001f * first.data()[k];
  for (std::size_t step = 0; step < keep.size(); ++step) {
    CAPTURE(step);
    const std::string name = "movement.step" + std::to_string(step) + ".";
    const Matrix<float> gradient = oracle.matrix(name + "grad_effective");
    const Mask mask = movement_mask(movement.scores(), keep[step]);
    CHECK(mask == oracle.mask(name + "mask"));
    // The straight-through gradients that the accumulator stands for.
    Matrix<float> score_gradient(w.shape()), weight_gradient = gradient;
    for (Index k = 0; k < w.size(); ++k)
      score_gradient.data()[k] = gradient.data()[k] * w.data()[k];
    CHECK(test::relative_difference(score_gradient, oracle.matrix(name + "grad_scores")) <= 1e-6);
    mask.apply(weight_gradient);
    CHECK(test::relative_difference(weight_gradient, oracle.matrix(name + "grad_weight")) <= 1e-6);
    movement.add(w, gradient, 0.1);
    CHECK(test::relative_difference(movement.scores(), oracle.matrix(name + "scores_after")) <=
          1e-6);
    w = oracle.matrix(name + "weight_after");
  }
}

TEST_CASE("soft movement masks agree with the authors' code, their floor included") {
  const PruningOracle oracle;
  const Matrix<float> scores = oracle.matrix("movement.soft.scores");
  const auto thresholds = oracle.meta("movement.soft").at("thresholds").get<std::vector<double>>();
  for (std::size_t k = 0; k < thresholds.size(); ++k)
    CHECK(movement_soft_mask(scores, thresholds[k]) ==
          oracle.mask("movement.soft.mask" + std::to_string(k)));
  const double penalty = oracle.meta("movement.soft").at("penalty_mean_sigmoid");
  CHECK(movement_penalty(scores) == Approx(penalty).epsilon(1e-7));
  // floor(0.005 n) + 1 stay, whatever the threshold.
  for (const auto& [cols, kept] : {std::pair<Index, Index>{1, 1}, {199, 1}, {200, 2}, {1000, 6}})
    CHECK(movement_soft_mask(random_matrix(1, cols), 1.0).kept() == kept);
  Matrix<float> like({10, 40});
  CHECK(movement_soft_mask(like, 0.5).kept() == 3);  // a sigmoid of 0.5 is not above 0.5
  CHECK(movement_soft_mask(like, 0.5)(9, 39));
  CHECK(movement_soft_mask(like, 0.49).kept() == 400);
}

TEST_CASE("the l0 penalty is the mean chance of an open gate") {
  Matrix<float> scores({1, 2});
  scores(0, 1) = 2.0f;
  const double shift = 2.0 / 3.0 * std::log(0.1 / 1.1);
  const double expected =
      0.5 * (1.0 / (1.0 + std::exp(shift)) + 1.0 / (1.0 + std::exp(shift - 2.0)));
  CHECK(movement_penalty(scores, MovementPenalty::l0) == Approx(expected).epsilon(1e-12));
  CHECK(movement_penalty(Matrix<float>({0, 3})) == 0.0);
}

TEST_CASE("hard movement masks keep the floor of the share, the highest scores") {
  const Matrix<float> scores = random_matrix(5, 7);
  for (const auto& [keep, kept] :
       {std::pair{0.0, Index{0}}, {0.1, 3}, {0.5, 17}, {0.99, 34}, {1.0, 35}}) {
    const Mask mask = movement_mask(scores, keep);
    CHECK(mask.kept() == kept);
    CHECK(mask == test::lowest_removed(std::vector{scores}, 35 - kept)[0]);
  }
  // Of equal ones the first goes, and zeros of either sign are equal.
  Matrix<float> ties({1, 4});
  ties(0, 1) = -0.0f;
  const Mask mask = movement_mask(ties, 0.5);
  CHECK((!mask(0, 0) && !mask(0, 1) && mask(0, 2) && mask(0, 3)));
  CHECK(movement_mask(Matrix<float>({0, 3}), 0.5).size() == 0);
}

TEST_CASE("movement refuses what does not fit and stays as it was") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  MovementScores movement({2, 3});
  const Matrix<float> w = random_matrix(2, 3, 1), g = random_matrix(2, 3, 2);
  movement.add(w, g, 0.5);
  const Matrix<float> scores = movement.scores();
  CHECK(scores(1, 2) == Approx(-0.5 * static_cast<double>(w(1, 2)) * static_cast<double>(g(1, 2))));
  Matrix<float> broken = w;
  broken(1, 0) = nan;
  CHECK_THROWS_AS(movement.add(broken, g, 0.5), NumericError);
  CHECK_THROWS_AS(movement.add(w, broken, 0.5), NumericError);
  CHECK_THROWS_AS(movement.add(w, random_matrix(3, 2), 0.5), ShapeError);
  CHECK_THROWS_AS(movement.add(random_matrix(3, 2), g, 0.5), ShapeError);
  for (const double rate : {-1.0, std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(movement.add(w, g, rate), ArgumentError);
  CHECK(movement.scores() == scores);
  for (const double share : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(movement_mask(scores, share), ArgumentError);
    CHECK_THROWS_AS(movement_soft_mask(scores, share), ArgumentError);
  }
  CHECK_THROWS_AS(movement_mask(broken, 0.5), NumericError);
  CHECK_THROWS_AS(movement_soft_mask(broken, 0.5), NumericError);
  CHECK_THROWS_AS(movement_penalty(broken), NumericError);
}
