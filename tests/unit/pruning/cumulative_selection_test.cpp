#include "pare/pruning/cumulative_selection.hpp"

#include <cmath>
#include <limits>

#include "pare/core/parallel_openmp.hpp"
#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

TEST_CASE("the variant of wanda agrees with the authors' code") {
  const test::PruningOracle oracle;
  const Matrix<float> scores = oracle.matrix("wanda.scores");
  const double sparsity = oracle.meta("wanda.variant.0.5")["sparsity"];
  const Mask mask = select_cumulative(scores, {.sparsity = sparsity});
  CHECK(mask == oracle.mask("wanda.variant.0.5.mask"));
  CHECK(select_cumulative(scores, {.sparsity = sparsity}, {.parallel_for = OpenMpFor(3)}) == mask);
  const test::Strided<float> strided(scores.view());
  CHECK(select_cumulative(strided.view(), {.sparsity = sparsity}) == mask);
}

TEST_CASE("every row loses the same share of its scores") {
  // Of [1 1 1 1] a share of .4 takes one, of [1 2 3 14] of sum 20 three, of zeros all.
  Matrix<float> scores(MatrixView<const float>(
      std::array{1.0f, 1.0f, 1.0f, 1.0f, 14.0f, 1.0f, 2.0f, 3.0f, 0.0f, 0.0f, 0.0f, 0.0f}.data(),
      {3, 4}));
  const Mask mask = select_cumulative(scores, {.sparsity = 8.0 / 12.0});
  CHECK_FALSE(mask(0, 0));
  CHECK(mask.kept_in_row(0) == 3);
  CHECK(mask(1, 0));
  CHECK(mask.kept_in_row(1) == 1);
  CHECK(mask.kept_in_row(2) == 0);
}

TEST_CASE("the sparsity that was asked for is met by rows that lose unequally") {
  Matrix<float> scores = test::random_matrix(60, 90);
  for (Index k = 0; k < scores.size(); ++k) scores.data()[k] = std::fabs(scores.data()[k]);
  for (const double sparsity : {0.1, 0.3, 0.5, 0.7})
    CHECK(select_cumulative(scores, {.sparsity = sparsity}).sparsity() ==
          Approx(sparsity).margin(0.001));
  // More than the largest share of scores does not go.
  const double most = select_cumulative(scores, {.sparsity = 1.0}).sparsity();
  CHECK(most < 0.93);
  // Each row keeps its best.
  CHECK(select_cumulative(scores, {.sparsity = 1.0, .largest_share = 1.0}).kept() == 60);
  CHECK(select_cumulative(scores, {.sparsity = 0.0, .tolerance = 1e-6}).removed() == 0);
  CHECK(select_cumulative(Matrix<float>({0, 4}), {}).size() == 0);
  CHECK(select_cumulative(Matrix<float>({4, 0}), {}).size() == 0);
}

TEST_CASE("a selection by shares refuses what it cannot order") {
  Matrix<float> scores({2, 2});
  for (const CumulativeSelection& bad :
       {CumulativeSelection{.sparsity = 1.5}, CumulativeSelection{.tolerance = 0.0},
        CumulativeSelection{.largest_share = 1.1}, CumulativeSelection{.sparsity = std::nan("")}})
    CHECK_THROWS_AS(select_cumulative(scores, bad), ArgumentError);
  for (const float bad :
       {-1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    scores(1, 0) = bad;
    CHECK_THROWS_AS(select_cumulative(scores, {}), NumericError);
  }
}
